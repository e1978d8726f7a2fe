# SPDX-License-Identifier: Apache-2.0
"""Where an upload goes on a host."""

import pathlib

import pytest
import xxhash

from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from harness.host import spread
from tests.unit.meetings import DATA
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import fsutil
from tmpl_glance_store.placement import hash_range


def test_each_copy_lies_where_the_hash_ranges_say(
    host: Host, parts: factory.Parts
) -> None:
    images = spread(host, lambda data: add(parts, data))
    policy = hash_range.HashRange(parts.catalog.locations.all(), 1)
    seed = parts.catalog.history.begin().seed
    for data, image in images.items():
        (owner,) = policy.targets(xxhash.xxh3_64_intdigest(data, seed))
        (copy,) = host.copies(image.digest)
        assert copy.is_relative_to(owner.path)


def test_a_full_target_is_passed_over(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = add(parts, DATA)
    (copy,) = host.copies()
    full = str(copy.parents[2])
    remove(parts, first)
    monkeypatch.setattr(
        fsutil,
        'free_bytes',
        lambda path: (-1 if path == full else 1 << 40, 1 << 40),
    )
    assert read(parts, add(parts, DATA)) == DATA
    (copy,) = host.copies()
    assert not copy.is_relative_to(full)


def test_no_room_at_any_target_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, 'staging:s:1', 'ssd:a:1')
    parts = host.parts()
    monkeypatch.setattr(
        fsutil,
        'free_bytes',
        lambda path: (1 << 40 if path.endswith('s') else -1, 1 << 40),
    )
    with pytest.raises(exceptions.NoSpace):
        add(parts, DATA)
    assert host.is_clean()


def test_a_placement_that_finds_no_location_is_told(
    tmp_path: pathlib.Path,
) -> None:
    host = Host(tmp_path, 'hdd:a:1', tmpl_store_placement='hash_range')
    with pytest.raises(exceptions.WriteDenied, match='tmpl_store_placement'):
        add(host.parts(), DATA)
    assert host.is_clean()


def test_a_location_added_later_gets_its_share(tmp_path: pathlib.Path) -> None:
    Host(tmp_path, 'ssd:a:1').parts()
    host = Host(tmp_path, 'ssd:a:1', 'ssd:b:1')
    parts = host.parts()
    assert spread(host, lambda data: add(parts, data))
    assert host.disagreements() == []


def test_auto_places_by_hash_as_soon_as_there_is_an_ssd(
    tmp_path: pathlib.Path,
) -> None:
    def ranges(*locations: str) -> set[str]:
        parts = Host(tmp_path, *locations).parts()
        policy = parts.policy(parts.catalog.locations.all())
        return {owner.path for *_, owner in policy.ranges()}

    assert ranges('hdd:a:1') == set()
    assert ranges('hdd:a:1', 'ssd:b:1') == {str(tmp_path / 'b')}


def test_without_any_ssd_the_only_node_keeps_a_copy_on_its_disk(
    tmp_path: pathlib.Path,
) -> None:
    host = Host(tmp_path, 'staging:s:1', 'hdd:a:1')
    parts = host.parts()
    assert read(parts, add(parts, DATA)) == DATA
    (copy,) = host.copies()
    assert copy.is_relative_to(tmp_path / 'a')
    assert host.disagreements() == []
