# SPDX-License-Identifier: Apache-2.0
"""A start with disks that fail, are replaced, or come back."""

import errno
import os
from typing import Any

import pytest

from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from harness.host import spread
from tests.unit.meetings import DATA
from tests.unit.meetings import OTHER
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory


def test_one_disk_that_turned_read_only_does_not_stop_the_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = host.parts()
    images = spread(host, lambda data: add(parts, data))
    bad, *good = host.paths
    damaged = next(iter(bad.glob('templates/*/*')))
    (damaged / 'template.json').unlink()
    rename = os.rename

    def read_only(source: str, target: str) -> None:
        if source.startswith(str(bad)):
            raise OSError(errno.EROFS, 'Read-only file system', source)
        rename(source, target)

    debris = good[-1] / 'incoming' / 'debris'
    debris.mkdir()
    monkeypatch.setattr(os, 'rename', read_only)
    parts = host.parts()
    assert not debris.exists()
    for data, image in images.items():
        if image.digest != damaged.name:
            assert read(parts, image) == data


def test_one_copy_that_cannot_be_read_does_not_stop_the_others(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = add(parts, DATA), add(parts, OTHER)
    (copy,) = host.copies(bad.digest)
    opened = open

    def bad_sector(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path == str(copy / 'template.json'):
            raise OSError(errno.EIO, 'Input/output error', path)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr('builtins.open', bad_sector)
    parts = host.parts()
    assert read(parts, good) == OTHER
    assert read(parts, add(parts, b'something else')) == b'something else'
    monkeypatch.undo()
    assert read(parts, bad) == DATA
    assert host.disagreements() == []


def test_a_replaced_disk_gives_its_copies_up(host: Host) -> None:
    parts = host.parts()
    images = spread(host, lambda data: add(parts, data))
    gone = [
        path.name
        for path in host.copies()
        if path.is_relative_to(host.paths[0])
    ]
    old = host.location_id(host.paths[0])
    host.paths[0].rename(host.root / 'broken')
    host.paths[0].mkdir()
    (host.paths[0] / 'replaced').touch()
    parts = host.parts()
    assert old not in host.records('locations')
    assert sorted(
        location['path'] for location in host.records('locations').values()
    ) == [str(path) for path in host.paths]
    assert not [key for key in host.records('copies') if key.startswith(old)]
    for data, image in images.items():
        if image.digest in gone:
            with pytest.raises(exceptions.Unavailable):
                read(parts, image)
            remove(parts, image)
        else:
            assert read(parts, image) == data
    assert host.disagreements() == []
    assert read(parts, add(parts, DATA)) == DATA


def test_a_disk_that_comes_back_after_it_was_replaced_counts_again(
    host: Host,
) -> None:
    parts = host.parts()
    images = spread(host, lambda data: add(parts, data))
    host.paths[0].rename(host.root / 'pulled')
    host.paths[0].mkdir()
    (host.paths[0] / 'replaced').touch()
    host.parts()
    host.paths[0].rename(host.root / 'spare')
    (host.root / 'pulled').rename(host.paths[0])
    parts = host.parts()
    assert {data: read(parts, image) for data, image in images.items()} == {
        data: data for data in images
    }
    known = host.records('locations')
    assert host.location_id(host.paths[0]) in known
    assert host.location_id(host.root / 'spare') not in known


def test_two_disks_that_change_places_come_right_at_the_first_start(
    host: Host,
) -> None:
    parts = host.parts()
    images = spread(host, lambda data: add(parts, data))
    first, second = host.paths[:2]
    before = host.records('copies').keys()
    first.rename(host.root / 'x')
    second.rename(first)
    (host.root / 'x').rename(second)
    parts = host.parts()
    places = {
        key: each['path'] for key, each in host.records('locations').items()
    }
    assert places[host.location_id(first)] == str(first)
    assert places[host.location_id(second)] == str(second)
    assert host.records('copies').keys() == before
    assert all(read(parts, image) == data for data, image in images.items())
    assert host.disagreements() == []
