# SPDX-License-Identifier: Apache-2.0
"""A location directory: whose it is, made new, and refused."""

import dataclasses
import json
import os
import pathlib
import stat
import uuid

import pytest

from harness import host as hosts
from harness.host import Host
from tests.conftest import Forbid
from tests.unit.localstore.copies import attach
from tests.unit.localstore.copies import place
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import objects
from tmpl_glance_store import schema
from tmpl_glance_store.localstore import location as local


def test_a_new_location_gets_its_marker_and_directories(
    one_disk: Host,
) -> None:
    location = attach(one_disk)
    marker = json.loads((one_disk.paths[0] / 'location.json').read_bytes())
    assert marker == {
        'version': schema.VERSION,
        'id': location.record.id.removeprefix('node1/'),
        'cluster': hosts.CLUSTER,
        'node': 'node1',
        'tier': 'ssd',
    }
    assert uuid.UUID(location.record.id.removeprefix('node1/'))
    assert sorted(path.name for path in one_disk.paths[0].iterdir()) == [
        'incoming',
        'location.json',
        'quarantine',
        'templates',
    ]


def test_a_location_keeps_its_id(one_disk: Host) -> None:
    assert attach(one_disk).record == attach(one_disk).record


def test_the_location_keeps_others_out_and_what_is_within_does_not(
    one_disk: Host,
) -> None:
    before = os.umask(0o077)
    try:
        copy = place(attach(one_disk, directory_mode=0o2750, group=12345))
    finally:
        os.umask(before)
    top = one_disk.paths[0].stat()
    assert (stat.S_IMODE(top.st_mode), top.st_gid) == (0o2750, 12345)
    within = [copy.parent.parent, copy.parent, copy, *copy.iterdir()]
    assert {oct(path.stat().st_mode & 0o777) for path in within} == {
        '0o755',
        '0o444',
    }


def test_two_processes_that_make_a_location_agree_on_its_id(
    one_disk: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[local.LocalLocation] = []

    def create(path: str, data: bytes) -> bool:
        monkeypatch.undo()
        others.append(attach(one_disk))
        return fsutil.create_durably(path, data)

    monkeypatch.setattr(local.fsutil, 'create_durably', create)
    assert [attach(one_disk).record] == [other.record for other in others]
    assert not [
        path
        for path in one_disk.paths[0].iterdir()
        if path.name.startswith(('.', 'location.json.'))
    ]


def test_the_weight_defaults_to_the_size_of_the_file_system(
    one_disk: Host, tmp_path: pathlib.Path
) -> None:
    total = os.statvfs(tmp_path)
    size = total.f_blocks * total.f_frsize / (1 << 30)
    assert attach(one_disk).record.weight == pytest.approx(size, abs=0.01)
    assert attach(Host(tmp_path, 'ssd:b:7.5')).record.weight == 7.5


@pytest.mark.parametrize(
    ('rotates', 'tier'), [(True, 'hdd'), (False, 'ssd'), (None, 'hdd')]
)
def test_the_kernel_tells_the_tier_of_an_auto_location(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    rotates: bool | None,
    tier: str,
) -> None:
    monkeypatch.setattr(fsutil, 'rotates', lambda path: rotates)
    assert attach(Host(tmp_path, 'auto:a')).record.tier == tier


@pytest.mark.parametrize('state', objects.PLACEMENTS)
def test_a_location_keeps_what_the_operator_wants_of_it(
    one_disk: Host, state: str
) -> None:
    known = dataclasses.replace(attach(one_disk).record, state=state)
    assert attach(one_disk, [known]).record.state == state


@pytest.mark.parametrize(
    'changes', [{'node': 'node2'}, {'cluster': 'another'}]
)
def test_a_directory_of_another_node_or_cluster_is_refused(
    one_disk: Host, changes: dict[str, str]
) -> None:
    attach(one_disk)
    before = (one_disk.paths[0] / 'location.json').read_bytes()
    with pytest.raises(exceptions.LocationRefused) as caught:
        attach(one_disk, **changes)
    assert "'node1'" in str(caught.value)
    assert "'test'" in str(caught.value)
    assert next(iter(changes.values())) in str(caught.value)
    assert (one_disk.paths[0] / 'location.json').read_bytes() == before


def test_a_disk_that_is_not_mounted_is_refused_and_nothing_is_written(
    one_disk: Host,
) -> None:
    known = [attach(one_disk).record]
    unmounted(one_disk)
    with pytest.raises(exceptions.LocationRefused, match='mounted') as caught:
        attach(one_disk, known)
    assert str(one_disk.paths[0] / 'replaced') in str(caught.value)
    assert not list(one_disk.paths[0].iterdir())


def test_a_directory_that_went_with_its_disk_is_not_made_anew(
    one_disk: Host,
) -> None:
    known = [attach(one_disk).record]
    unmounted(one_disk).rmdir()
    with pytest.raises(exceptions.LocationRefused):
        attach(one_disk, known)
    assert not one_disk.paths[0].exists()


def test_a_replaced_disk_is_a_new_location(one_disk: Host) -> None:
    known = [attach(one_disk).record]
    (unmounted(one_disk) / 'replaced').touch()
    assert attach(one_disk, known).record.id != known[0].id
    assert not (one_disk.paths[0] / 'replaced').exists()


@pytest.mark.parametrize(
    'changes', [{'node': 'node2'}, {'path': '/elsewhere'}]
)
def test_only_what_was_at_this_path_of_this_node_can_be_unmounted(
    one_disk: Host, changes: dict[str, str]
) -> None:
    other = objects.Location('id', 'node1', 'ssd', str(one_disk.paths[0]), 1)
    assert attach(one_disk, [dataclasses.replace(other, **changes)])


def test_a_directory_of_another_version_is_refused_and_says_so(
    one_disk: Host,
) -> None:
    attach(one_disk)
    path = one_disk.paths[0] / 'location.json'
    path.chmod(0o600)
    path.write_text(json.dumps({**json.loads(path.read_text()), 'version': 1}))
    with pytest.raises(
        exceptions.LocationRefused, match='version 1, from old'
    ):
        attach(one_disk)


@pytest.mark.parametrize(
    'marker', [b'', b'{', b'[]', b'{"version": 2}', b'\xff']
)
def test_a_damaged_marker_is_refused(one_disk: Host, marker: bytes) -> None:
    attach(one_disk)
    path = one_disk.paths[0] / 'location.json'
    path.chmod(0o600)
    path.write_bytes(marker)
    with pytest.raises(exceptions.LocationRefused):
        attach(one_disk)
    assert path.read_bytes() == marker


def test_a_marker_damaged_meanwhile_is_refused(
    one_disk: Host, location: local.LocalLocation
) -> None:
    path = one_disk.paths[0] / 'location.json'
    path.chmod(0o600)
    path.write_bytes(b'{')
    with pytest.raises(exceptions.LocationRefused):
        location.check()


def test_another_disk_at_the_same_path_is_refused(
    one_disk: Host, location: local.LocalLocation
) -> None:
    location.check()
    unmounted(one_disk)
    attach(one_disk)
    with pytest.raises(exceptions.LocationRefused, match='mounted'):
        location.check()


def test_a_file_in_the_way_is_refused(one_disk: Host) -> None:
    one_disk.paths[0].write_text('not a directory')
    with pytest.raises(exceptions.LocationRefused):
        attach(one_disk)


def test_a_forbidden_directory_is_refused(
    one_disk: Host, forbid: Forbid
) -> None:
    forbid(one_disk.root)
    with pytest.raises(exceptions.LocationRefused, match='denied'):
        attach(one_disk)
    forbid.lift()
    attach(one_disk)
    forbid(one_disk.paths[0], 0o000)
    with pytest.raises(exceptions.LocationRefused, match='denied'):
        attach(one_disk)


def unmounted(host: Host) -> pathlib.Path:
    """Take the host's first disk away: its mount point is left, empty."""
    path = host.paths[0]
    path.rename(host.root / f'disk-{uuid.uuid4()}')
    path.mkdir()
    return path
