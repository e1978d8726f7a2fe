# SPDX-License-Identifier: Apache-2.0
"""Whether the catalog may be relied on: another one, or an older one."""

import dataclasses
import pathlib
import shutil

import pytest

from tests.unit.catalog.doubts import Open
from tests.unit.catalog.doubts import doubt
from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import A
from tests.unit.catalog.support import X
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import image
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog import history


def backup(catalog: domain.Catalog, tmp_path: pathlib.Path, name: str) -> None:
    """Copy the catalog's file as it is now to *name*."""
    store = catalog.records.store
    store._connection().execute(  # type: ignore[attr-defined]
        'VACUUM INTO ?', (str(tmp_path / name),)
    )


def test_a_catalog_is_relied_on_by_who_remembers_nothing(
    open_catalog: Open,
) -> None:
    assert doubt(open_catalog()) == ''


def test_the_same_catalog_goes_on(
    open_catalog: Open, memories: list[history.Seen]
) -> None:
    catalog = open_catalog()
    catalog.history.begin()
    memories.append(catalog.history.look())
    assert doubt(catalog) == ''
    catalog.bindings.bind(image(), A, X)
    assert doubt(catalog) == ''
    assert doubt(open_catalog()) == ''
    assert catalog.history.look().revision > memories[0].revision


def test_a_memory_survives_its_file() -> None:
    seen = history.Seen('etcd 1', 7, 3, objects.SPACE - 1)
    assert history.Seen.from_json(seen.to_json()) == seen


def test_another_catalog_is_doubted(
    open_catalog: Open, memories: list[history.Seen]
) -> None:
    first = open_catalog('first')
    first.history.begin()
    memories.append(first.history.look())
    emptied = open_catalog('second')
    assert 'another catalog' in doubt(emptied)
    # It may be added to, and may have come further: it is none the less.
    for n in range(20):
        emptied.bindings.bind(image(f'i{n}'), A, X)
    assert emptied.history.look().revision > memories[0].revision
    assert 'another catalog' in doubt(emptied)


def test_a_catalog_from_a_backup_is_doubted(
    open_catalog: Open,
    memories: list[history.Seen],
    tmp_path: pathlib.Path,
) -> None:
    catalog = open_catalog()
    catalog.history.begin()
    backup(catalog, tmp_path, 'old')
    catalog.bindings.bind(image(), A, X)
    memories.append(catalog.history.look())
    restored = open_catalog('old')
    reason = doubt(restored)
    assert f'was at {memories[0].revision} before' in reason
    assert 'restored from a backup' in reason
    assert doubt(catalog) == ''


def test_an_accepted_catalog_is_relied_on(
    open_catalog: Open, memories: list[history.Seen]
) -> None:
    first = open_catalog('first')
    first.history.begin()
    for _ in range(3):
        first.bindings.bind(image(), A, X)
    memories.append(first.history.look())
    second = open_catalog('second')
    assert doubt(second)
    accepted = second.history.accept()
    assert accepted.epoch == NOW
    assert accepted == second.history.begin()
    # By all hosts, though each remembers the one before.
    assert memories[0].epoch == 0
    assert doubt(second) == ''
    memories.append(second.history.look())
    assert doubt(second) == ''


def test_the_catalog_of_before_is_doubted_after_another_was_accepted(
    open_catalog: Open, memories: list[history.Seen]
) -> None:
    first, second = open_catalog('first'), open_catalog('second')
    first.history.begin()
    second.history.accept()
    memories.append(second.history.look())
    assert doubt(first)


def test_a_backup_of_before_an_accept_is_doubted_however_far_it_comes(
    open_catalog: Open,
    memories: list[history.Seen],
    tmp_path: pathlib.Path,
) -> None:
    catalog = open_catalog()
    catalog.history.begin()
    backup(catalog, tmp_path, 'old')
    catalog.history.accept()
    memories.append(catalog.history.look())
    restored = open_catalog('old')
    for n in range(20):
        restored.bindings.bind(image(f'i{n}'), A, X)
    assert restored.history.look().revision > memories[0].revision
    assert 'does not know any more that it was accepted' in doubt(restored)


def test_each_accept_is_above_all_before_it(
    open_catalog: Open, tmp_path: pathlib.Path
) -> None:
    catalog = open_catalog(now=NOW)
    epochs = [catalog.history.accept().epoch for _ in range(3)]
    assert epochs == [NOW, NOW + 1, NOW + 2]
    # From a backup of before them, later on.
    again = open_catalog('other', now=NOW + 60)
    assert again.history.accept().epoch > epochs[-1]


def test_an_accept_is_not_lost_to_another(open_catalog: Open) -> None:
    catalog, rival = open_catalog(), open_catalog()
    before_commit(catalog, rival.history.accept)
    assert catalog.history.accept().epoch == NOW + 1


def test_the_seed_is_made_once(open_catalog: Open) -> None:
    catalog, rival = open_catalog(), open_catalog()
    made: list[objects.History] = []
    before_commit(catalog, lambda: made.append(rival.history.begin()))
    assert catalog.history.begin() == made[0]
    assert made[0].seed
    assert open_catalog().history.begin() == made[0]
    assert open_catalog('other').history.begin().seed != made[0].seed
    assert catalog.history.accept().seed == made[0].seed


@pytest.mark.parametrize('verb', ['begin', 'accept'])
def test_a_new_catalog_takes_the_seed_that_a_host_remembers(
    open_catalog: Open, memories: list[history.Seen], verb: str
) -> None:
    """Positions do not change with the catalog."""
    first = open_catalog('first')
    seed = first.history.begin().seed
    # One that saw the catalog before it had a seed knows none.
    known = first.history.look()
    memories += [dataclasses.replace(known, seed=0), known]
    second = open_catalog('second')
    assert getattr(second.history, verb)().seed == seed


def test_a_file_that_was_replaced_is_doubted_by_who_runs(
    open_catalog: Open,
    memories: list[history.Seen],
    tmp_path: pathlib.Path,
) -> None:
    catalog, other = open_catalog(), open_catalog('other')
    catalog.history.begin()
    memories.append(catalog.history.look())
    other.close()
    catalog.close()
    shutil.move(tmp_path / 'other', tmp_path / 'c')
    assert 'another catalog' in doubt(catalog)


def test_a_history_that_cannot_be_read_is_not_made_anew(
    open_catalog: Open,
) -> None:
    catalog = open_catalog()
    catalog.history.begin()
    put = dataclasses.replace(
        catalog.records.history.put(objects.History(1)), value=b'bad'
    )
    catalog.records.store.commit([], [put])
    for call in (
        catalog.history.begin,
        catalog.history.look,
        catalog.history.require,
        catalog.history.accept,
    ):
        with pytest.raises(exceptions.Unavailable, match='cannot be read'):
            call()
