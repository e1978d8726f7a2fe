# SPDX-License-Identifier: Apache-2.0
"""A power cut at any instant of an upload."""

import errno
import os
import pathlib
from collections.abc import Callable

import pytest

from harness import host as hosts
from harness.host import Host
from tests.durability import rooms
from tmpl_glance_store import factory
from tmpl_glance_store import fsutil

DATA = hosts.content(3000, 'upload')


@pytest.mark.parametrize(
    'locations',
    [('ssd:a',), ('ssd:a', 'staging:b')],
    ids=['in place', 'renamed'],
)
def test_what_is_uploaded_stays(
    root: pathlib.Path, locations: tuple[str, ...]
) -> None:
    host = Host(root, *locations)
    parts = host.parts()
    with rooms.record(host) as seen:
        image = hosts.add(parts, DATA)
        seen.promise(rooms.Stored(image, DATA))
    rooms.examine(host, seen)


def test_what_is_uploaded_by_way_of_another_disk_stays(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(root, 'ssd:a', 'staging:b')
    parts = host.parts()
    with rooms.record(host) as seen:
        with monkeypatch.context() as patch:
            patch.setattr(os, 'rename', _within_one_disk(os.rename, host))
            image = hosts.add(parts, DATA)
        seen.promise(rooms.Stored(image, DATA))
    rooms.examine(host, seen)


def _within_one_disk(
    rename: Callable[[str, str], None], host: Host
) -> Callable[[str, str], None]:
    """Return a rename that takes each location for a file system."""

    def call(old: str, new: str) -> None:
        if (
            sum(
                str(path) in os.path.commonpath((old, new))
                for path in host.paths
            )
            != 1
        ):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(old, new)

    return call


def test_a_neighbour_on_the_shelf_stays(root: pathlib.Path) -> None:
    host = Host(root, 'ssd:a')
    parts = host.parts()
    with rooms.record(host) as seen:
        for data in hosts.same_shelf():
            image = hosts.add(parts, data)
            seen.promise(rooms.Stored(image, data))
    rooms.examine(host, seen)


def test_what_was_placed_by_a_process_that_died_stays(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    host = Host(root, 'ssd:a')
    parts = host.parts()
    other = Host(tmp_path, 'ssd:a')
    hosts.add(other.parts(), DATA)
    with rooms.record(host) as seen:
        _die_after_the_rename(parts, other.copies()[0])
        image = hosts.add(parts, DATA)
        seen.promise(rooms.Stored(image, DATA))
    rooms.examine(host, seen)


def _die_after_the_rename(parts: factory.Parts, copy: pathlib.Path) -> None:
    """Do what an upload does until its copy is visible, and no more."""
    location = parts.store.locations[0]
    with location.stage() as staged:
        staged.copy_from(str(copy), copy.name)
        fsutil.make_directory(location.paths.shelf(copy.name))
        fsutil.fsync_directory(location.paths.templates)
        parts.catalog.copies.intend(copy.name, location.record.id)
        os.rename(staged.directory, location.paths.copy(copy.name))
