# SPDX-License-Identifier: Apache-2.0
"""What a location says of its disk."""

import dataclasses
import pathlib

import pytest

from harness.host import Host
from tests.conftest import Forbid
from tmpl_glance_store import fsutil
from tmpl_glance_store import objects
from tmpl_glance_store.localstore import location as local

GIB = 1 << 30


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A disk of 100 GiB, of which a test says what is free."""
    disk = {'free': 50 * GIB, 'files': 1000}
    monkeypatch.setattr(
        fsutil, 'free_bytes', lambda path: (disk['free'], 100 * GIB)
    )
    monkeypatch.setattr(fsutil, 'free_files', lambda path: disk['files'])
    return disk


def test_a_good_disk_is_well_and_tells_its_room(
    location: local.LocalLocation, disk: dict[str, int]
) -> None:
    said = location.describe()
    assert (said.health, said.reason) == (objects.WELL, '')
    assert (said.free, said.size) == (50 * GIB, 100 * GIB)
    assert said.is_readable


def test_a_disk_that_was_unmounted_is_missing(
    location: local.LocalLocation,
) -> None:
    root = pathlib.Path(location.paths.root)
    root.rename(root.with_name('away'))
    root.mkdir()
    said = location.describe()
    assert said.health == objects.MISSING
    assert 'is the disk mounted?' in said.reason
    assert not said.is_readable


def test_a_disk_under_its_reserve_is_full(
    one_disk: Host, location: local.LocalLocation, disk: dict[str, int]
) -> None:
    disk['free'] = -1
    assert location.describe().health == objects.FULL
    assert location.describe().is_readable


def test_a_disk_without_inodes_is_full(
    location: local.LocalLocation, disk: dict[str, int]
) -> None:
    disk['files'] = 3
    assert not location.has_room(0)
    assert location.describe().health == objects.FULL


def test_a_file_system_that_counts_no_inodes_has_room(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsutil, 'free_files', lambda path: None)
    assert location.has_room(0)


def test_a_disk_that_cannot_be_written_is_read_only(
    location: local.LocalLocation, forbid: Forbid
) -> None:
    forbid(pathlib.Path(location.paths.incoming))
    assert location.describe().health == objects.READ_ONLY


def test_free_space_that_is_near_enough_is_the_same(
    location: local.LocalLocation, disk: dict[str, int]
) -> None:
    known = dataclasses.replace(location.describe(), state=objects.DRAINING)
    disk['free'] -= GIB
    assert location.describe(known) == known
    disk['free'] -= 2 * GIB
    assert location.describe(known).free == 47 * GIB
