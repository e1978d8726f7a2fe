# SPDX-License-Identifier: Apache-2.0
"""A view of the catalog: listed once, then kept by a watch."""

import dataclasses
from collections.abc import Callable, Iterator

import pytest

from tests.contract.keyvalue import settle
from tests.unit.catalog.support import LOCATIONS
from tests.unit.catalog.support import STATE
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tests.unit.catalog.support import Z
from tests.unit.catalog.support import image
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import snapshot as catalog_snapshot
from tmpl_glance_store.catalog import view as catalog_view

HOUR = 3600


class Told(contract.Watch):
    """A watch that tells what it is made to."""

    def __init__(self) -> None:
        self.changes: list[contract.Change] | None = []
        self.closed = False

    def wait(self, timeout: float) -> bool:
        return bool(self.changes)

    def take(self) -> list[contract.Change] | None:
        changes, self.changes = self.changes, []
        return changes

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def told(catalog: domain.Catalog, monkeypatch: pytest.MonkeyPatch) -> Told:
    """The watch of the view."""
    told = Told()
    monkeypatch.setattr(catalog, 'watch', lambda: told)
    return told


@pytest.fixture
def lists(
    catalog: domain.Catalog, monkeypatch: pytest.MonkeyPatch
) -> list[float]:
    """One item for each time that all was listed."""
    made: list[float] = []
    entries = catalog.entries
    monkeypatch.setattr(
        catalog, 'entries', lambda: made.append(0.0) or entries()
    )
    return made


@pytest.fixture
def clock() -> list[float]:
    """The seconds, to be changed."""
    return [0.0]


@pytest.fixture
def view(
    catalog: domain.Catalog, told: Told, clock: list[float]
) -> Iterator[catalog_view.View]:
    """A view with a watch and a clock of ours."""
    view = catalog_view.View(catalog, HOUR, lambda: clock[0])
    yield view
    view.close()


def change(catalog: domain.Catalog, key: str) -> contract.Change:
    """Return what a watch tells of a key below state/ now."""
    entry = catalog.records.store.get(f'{STATE}/{key}')
    if entry is None:
        return contract.Change(f'{STATE}/{key}', None, 1 << 40)
    return contract.Change(entry.key, entry.value, entry.revision)


def test_a_view_is_empty_before_it_looks(view: catalog_view.View) -> None:
    assert view.snapshot == catalog_snapshot.EMPTY
    assert view.wait(0)


def test_all_is_listed_once(
    catalog: domain.Catalog, view: catalog_view.View, lists: list[float]
) -> None:
    catalog.bindings.bind(image(), A, X)
    seen = view.update()
    assert seen.complete(A.digest) == {X}
    assert view.update() is seen
    assert not view.wait(0)
    assert len(lists) == 1


def test_what_a_watch_tells_is_taken_in_without_a_list(
    catalog: domain.Catalog,
    view: catalog_view.View,
    told: Told,
    lists: list[float],
) -> None:
    catalog.bindings.bind(image(), A, X)
    before = view.update()
    catalog.bindings.restore(B)
    catalog.copies.adopt(B.digest, Y)
    catalog.copies.forget(A.digest, X)
    told.changes = [
        change(catalog, f'templates/{B.digest}'),
        change(catalog, f'copies/{Y}/{B.digest}'),
        change(catalog, f'copies/{X}/{A.digest}'),
        change(catalog, 'anything/else'),
    ]
    after = view.update()
    assert set(after.templates) == {A.digest, B.digest}
    assert set(after.copies) == {B.digest}
    assert set(before.copies) == {A.digest}
    assert len(lists) == 1


def test_what_a_list_has_shown_is_not_taken_in_again(
    catalog: domain.Catalog, view: catalog_view.View, told: Told
) -> None:
    old = change(catalog, f'locations/{X}')
    catalog.copies.intend(A.digest, X)
    seen = view.update()
    told.changes = [contract.Change(old.key, None, old.revision)]
    assert view.update() is seen
    assert set(view.snapshot.locations) == set(LOCATIONS)


@pytest.mark.parametrize('why', ['missed', 'old'])
def test_all_is_listed_anew_if_changes_may_be_missed(
    view: catalog_view.View,
    told: Told,
    lists: list[float],
    clock: list[float],
    why: str,
) -> None:
    view.update()
    if why == 'old':
        clock[0] += HOUR
        assert view.wait(0)
    else:
        told.changes = None
    view.update()
    assert len(lists) == 2


def test_a_list_that_failed_is_made_up_for(
    catalog: domain.Catalog,
    view: catalog_view.View,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = view.update()
    with monkeypatch.context() as patch:
        patch.setattr(catalog, 'entries', unavailable)
        with pytest.raises(exceptions.Unavailable):
            view.reload()
    assert view.snapshot is seen
    assert view.wait(0)
    catalog.copies.intend(A.digest, X)
    assert A.digest in view.update().copies


def test_a_change_that_cannot_be_read_is_left_out_and_named(
    catalog: domain.Catalog,
    view: catalog_view.View,
    told: Told,
    lists: list[float],
) -> None:
    view.update()
    key = f'{STATE}/locations/{X}'
    told.changes = [
        contract.Change(key, b'no JSON', 1 << 40),
        contract.Change(f'{STATE}/pins/x', b'{}', 1 << 40),
        change(catalog, f'locations/{Y}'),
    ]
    now = view.update()
    assert set(now.locations) == {Y, Z}
    assert set(now.bad) == {key, f'{STATE}/pins/x'}
    # As soon as it is good, or gone, it is named no more.
    good = change(catalog, f'locations/{X}')
    told.changes = [
        contract.Change(good.key, good.value, 1 << 41),
        contract.Change(f'{STATE}/pins/x', None, 1 << 41),
    ]
    now = view.update()
    assert set(now.locations) == set(LOCATIONS)
    assert now.bad == {}
    assert len(lists) == 1


def test_changes_that_could_not_be_taken_in_are_listed_anew(
    catalog: domain.Catalog,
    view: catalog_view.View,
    told: Told,
    lists: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object) -> None:
        raise MemoryError

    view.update()
    told.changes = [change(catalog, f'locations/{Y}')]
    told.changes[0] = dataclasses.replace(told.changes[0], revision=1 << 40)
    with monkeypatch.context() as patch:
        patch.setattr(view._draft, 'take', fail)
        with pytest.raises(MemoryError):
            view.update()
    view.update()
    assert len(lists) == 2


def test_a_view_that_is_closed_watches_no_more(
    view: catalog_view.View, told: Told
) -> None:
    view.close()
    assert not told.closed
    view.update()
    view.close()
    assert told.closed


def test_a_view_follows_a_real_watch(
    make: Callable[[], domain.Catalog], rival: domain.Catalog
) -> None:
    view = catalog_view.View(make())
    view.update()
    settle(view._watched())
    rival.bindings.bind(image(), A, X)
    assert view.wait(60)
    assert view.update().images() == {'one': A.digest}
    assert view.snapshot.images() == make().snapshot().images()
    view.close()


def unavailable() -> list[contract.Entry]:
    """Be a catalog that is away."""
    raise exceptions.Unavailable('the catalog is away')


def test_records_that_go_back_tell_of_a_backup_however_far_it_has_come(
    catalog: domain.Catalog,
    view: catalog_view.View,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog.history.begin()
    catalog.bindings.bind(image(), A, X)
    assert view.update().doubt == ''
    entries = catalog.entries()
    # Others have written much since it was set back.
    older = [
        dataclasses.replace(each, revision=each.revision - 1)
        if each.key.endswith(f'heads/{A.digest}')
        else each
        for each in entries
    ]
    monkeypatch.setattr(catalog, 'entries', lambda: older)
    told.changes = None
    assert f'heads/{A.digest}' in view.update().doubt
    told.changes = None
    monkeypatch.setattr(catalog, 'entries', lambda: entries)
    assert view.update().doubt, 'until it is accepted'
    catalog.history.accept()
    told.changes = None
    assert view.update().doubt == ''
