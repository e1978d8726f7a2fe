# SPDX-License-Identifier: Apache-2.0
"""What a disk remembers of the catalog."""

import dataclasses
import pathlib

import pytest

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store.catalog import history
from tmpl_glance_store.localstore import memory

SEEN = history.Seen('blue', 7, epoch=1, seed=42)


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def where(tmp_path: pathlib.Path) -> layout.Paths:
    return layout.Paths(str(tmp_path))


def later(**changes: object) -> history.Seen:
    return dataclasses.replace(SEEN, **changes)


def test_what_was_seen_is_remembered_after_a_restart(
    where: layout.Paths,
) -> None:
    assert memory.Memory(where).seen is None
    memory.Memory(where).keep(SEEN)
    assert memory.Memory(where).seen == SEEN
    assert memory.remembered([where.root, '/nowhere']) == [SEEN]


def test_a_revision_that_only_grows_is_written_once_a_minute(
    where: layout.Paths, clock: Clock
) -> None:
    kept = memory.Memory(where, clock)
    kept.keep(SEEN)
    clock.now += 59
    kept.keep(later(revision=8))
    assert memory.Memory(where).seen == SEEN
    clock.now += 1
    kept.keep(later(revision=9))
    assert memory.Memory(where).seen == later(revision=9)


@pytest.mark.parametrize('changes', [{'identity': 'green'}, {'epoch': 2}])
def test_another_catalog_or_an_accepted_one_is_written_at_once(
    where: layout.Paths, clock: Clock, changes: dict[str, object]
) -> None:
    kept = memory.Memory(where, clock)
    kept.keep(SEEN)
    kept.keep(later(**changes))
    assert memory.Memory(where).seen == later(**changes)


def test_a_disk_that_cannot_be_written_remembers_what_it_did(
    where: layout.Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise exceptions.NoSpace('full')

    kept = memory.Memory(where)
    kept.keep(SEEN)
    monkeypatch.setattr(fsutil, 'write_durably', fail)
    kept.keep(later(epoch=2))
    assert kept.seen == SEEN


@pytest.mark.parametrize('data', [b'', b'{', b'{"version": 2}', b'\xff'])
def test_a_damaged_memory_is_told_and_is_none(
    where: layout.Paths, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    pathlib.Path(where.history).write_bytes(data)
    assert memory.Memory(where).seen is None
    assert 'Nothing is remembered of the catalog' in caplog.text
