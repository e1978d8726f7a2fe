# SPDX-License-Identifier: Apache-2.0
"""What a process has seen of the catalog itself, beside other lookers."""

import dataclasses
import pathlib
import shutil

import pytest

from tests.unit.catalog.doubts import Open
from tests.unit.catalog.doubts import doubt
from tests.unit.catalog.support import A
from tests.unit.catalog.support import X
from tests.unit.catalog.support import image
from tmpl_glance_store.catalog import history


def test_who_runs_doubts_what_is_put_in_the_place_of_a_catalog(
    open_catalog: Open, tmp_path: pathlib.Path
) -> None:
    catalog, other = open_catalog(), open_catalog('other')
    assert doubt(catalog) == ''
    other.close()
    catalog.close()
    shutil.move(tmp_path / 'other', tmp_path / 'c')
    assert 'another catalog' in doubt(catalog)
    # What it had seen before is not forgotten meanwhile, nor added to.
    last = catalog.history.last
    catalog.bindings.bind(image(), A, X)
    catalog.history.advance(1 << 40)
    assert 'another catalog' in doubt(catalog)
    assert catalog.history.last == last
    catalog.history.accept()
    assert doubt(catalog) == ''
    assert catalog.history.last == catalog.history.look()


def test_what_others_see_later_is_no_reason_to_doubt(
    open_catalog: Open,
    memories: list[history.Seen],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog, rival = open_catalog(), open_catalog()
    catalog.history.begin()
    look = catalog.history.look

    def look_and_be_overtaken() -> history.Seen:
        seen = look()
        monkeypatch.setattr(catalog.history, 'look', look)
        rival.bindings.bind(image(), A, X)
        assert catalog.history.check() == ''  # by another thread
        memories.append(look())  # by another process of this host
        return seen

    monkeypatch.setattr(catalog.history, 'look', look_and_be_overtaken)
    assert catalog.history.check() == ''
    assert catalog.history.last == memories[0]


def test_a_watch_tells_how_far_a_catalog_is(open_catalog: Open) -> None:
    catalog = open_catalog()
    catalog.history.advance(7)
    assert catalog.history.last is None
    catalog.history.begin()
    catalog.history.check()
    last = catalog.history.last
    assert last is not None
    catalog.history.advance(last.revision - 1)
    assert catalog.history.last == last
    catalog.history.advance(last.revision + 5)
    assert catalog.history.last == dataclasses.replace(
        last, revision=last.revision + 5
    )
    assert 'restored from a backup' in doubt(catalog)
