# SPDX-License-Identifier: Apache-2.0
"""The local store: markers, locks, crash-safe copies, one location a disk."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import pathlib
import stat
import threading
import uuid
from collections.abc import Callable

import pytest

from harness import host as hosts
from harness.host import Host
from tests.conftest import Forbid
from tmpl_glance_store import digests
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging
from tmpl_glance_store.localstore import store as local_store

DATA = hosts.content(3 * merkle.MIN_PIECE + 1)


@pytest.fixture
def one_disk(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path, 'ssd:a')


@pytest.fixture
def location(one_disk: Host) -> local.LocalLocation:
    return attach(one_disk)


def attach(
    host: Host, known: list[objects.Location] | None = None, **changes: object
) -> local.LocalLocation:
    """Open the host's first location, with other options."""
    options = dataclasses.replace(host.options.locations, **changes)
    return local.attach(options.specs[0], options, known or [])


def facts(data: bytes) -> tuple[objects.Template, bytes]:
    """Return what the digests of *data* say, as the repository does."""
    found = digests.ingest([data], 'sha512', [], 60)
    return objects.Template(
        digest=found.digest,
        size=found.size,
        position=found.position,
        checksum=found.checksum,
        hashing_algo='sha512',
        multihash=found.multihash,
        piece_size=found.piece_size,
        created_at=1.5,
    ), found.pieces


def place(location: local.LocalLocation, data: bytes = DATA) -> pathlib.Path:
    """Put a copy into the location, and return its directory."""
    template, pieces = facts(data)
    with location.stage() as staged:
        staged.write(data)
        staged.seal(template, pieces)
        assert staged.place(template.digest)
    return pathlib.Path(location.paths.copy(template.digest))


def lock_is_free(path: pathlib.Path) -> bool:
    """Whether nobody holds the lock of a directory."""
    lock = fsutil.lock_directory(str(path))
    if lock is None:
        return False
    lock.release()
    return True


# A new location


def test_a_new_location_gets_its_marker_and_directories(
    one_disk: Host,
) -> None:
    location = attach(one_disk)
    marker = json.loads((one_disk.paths[0] / 'location.json').read_bytes())
    assert marker == {
        'version': 1,
        'id': location.record.id,
        'cluster': hosts.CLUSTER,
        'node': 'node1',
        'tier': 'ssd',
    }
    assert uuid.UUID(location.record.id)
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


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        (objects.ACTIVE, objects.ACTIVE),
        (objects.DRAINING, objects.DRAINING),
        (objects.LOST, objects.ACTIVE),
    ],
)
def test_a_lost_location_counts_again_and_a_draining_one_still_drains(
    one_disk: Host, before: str, after: str
) -> None:
    known = dataclasses.replace(attach(one_disk).record, state=before)
    assert attach(one_disk, [known]).record.state == after


# A location that is refused


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
    'changes',
    [{'node': 'node2'}, {'path': '/elsewhere'}, {'state': objects.LOST}],
)
def test_only_what_was_at_this_path_of_this_node_can_be_unmounted(
    one_disk: Host, changes: dict[str, str]
) -> None:
    other = objects.Location('id', 'node1', 'ssd', str(one_disk.paths[0]), 1)
    assert attach(one_disk, [dataclasses.replace(other, **changes)])


@pytest.mark.parametrize(
    'marker', [b'', b'{', b'[]', b'{"version": 1}', b'\xff']
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


# A template on its way


def test_a_copy_appears_whole_and_described(
    location: local.LocalLocation,
) -> None:
    template, pieces = facts(DATA)
    with location.stage() as staged:
        for start in range(0, len(DATA), 100_000):
            staged.write(DATA[start : start + 100_000])
        staged.seal(template, pieces)
        assert not location.holds(template.digest)
        assert staged.place(template.digest)
        assert location.holds(template.digest)
    copy = pathlib.Path(location.paths.copy(template.digest))
    assert sorted(path.name for path in copy.iterdir()) == [
        'image',
        'pieces',
        'template.json',
    ]
    assert (copy / 'image').read_bytes() == DATA
    assert (copy / 'pieces').read_bytes() == pieces
    assert json.loads((copy / 'template.json').read_bytes()) == {
        'version': 1,
        **dataclasses.asdict(template),
    }
    assert local.read_copy(str(copy)) == template
    assert not os.listdir(location.paths.incoming)
    assert lock_is_free(copy)


def test_what_is_not_placed_goes(location: local.LocalLocation) -> None:
    with pytest.raises(KeyError), location.stage() as staged:
        staged.write(DATA)
        assert os.listdir(location.paths.incoming)
        raise KeyError
    assert not os.listdir(location.paths.incoming)


def test_the_second_to_place_a_copy_is_told_so(
    location: local.LocalLocation,
) -> None:
    template, pieces = facts(DATA)
    with location.stage() as late:
        late.write(DATA)
        late.seal(template, pieces)
        before = place(location).stat()
        assert not late.place(template.digest)
    copy = pathlib.Path(location.paths.copy(template.digest))
    assert os.path.samestat(copy.stat(), before)
    assert not os.listdir(location.paths.incoming)


def test_a_shelf_removed_at_the_last_moment_is_made_again(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, _ = facts(DATA)
    sync = fsutil.fsync_directory

    def fsync_directory(path: str) -> None:
        sync(path)
        if path == location.paths.templates:
            monkeypatch.undo()
            os.rmdir(location.paths.shelf(template.digest))

    monkeypatch.setattr(fsutil, 'fsync_directory', fsync_directory)
    place(location)
    assert location.holds(template.digest)


def test_a_shelf_removed_while_it_is_made_is_made_again(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, _ = facts(DATA)
    mkdir = os.mkdir

    def mkdir_early(path: str, *args: int) -> None:
        mkdir(path, *args)
        if path == location.paths.shelf(template.digest):
            monkeypatch.undo()
            staging.remove_if_empty(path)  # as who withdraws a copy does

    monkeypatch.setattr(os, 'mkdir', mkdir_early)
    place(location)
    assert location.holds(template.digest)


def test_a_directory_taken_for_debris_before_it_is_locked_is_made_again(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fsutil.lock_directory

    def lock_directory(path: str) -> fsutil.DirectoryLock | None:
        monkeypatch.undo()
        assert location.clean_incoming() == 1  # as another process's start
        return lock(path)

    monkeypatch.setattr(fsutil, 'lock_directory', lock_directory)
    place(location)


def test_a_directory_taken_for_debris_while_it_is_made_is_made_again(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def mkdir_early(path: str, *args: int) -> None:
        monkeypatch.undo()
        mkdir(path, *args)
        assert location.clean_incoming() == 1  # as another process's start

    monkeypatch.setattr(os, 'mkdir', mkdir_early)
    place(location)


def move(
    source: local.LocalLocation, target: local.LocalLocation
) -> pathlib.Path:
    """Place DATA in *target* although it was written in *source*."""
    template, pieces = facts(DATA)
    with source.stage() as staged, target.stage() as moved:
        staged.write(DATA)
        staged.seal(template, pieces)
        moved.copy_from(staged.directory, template.digest)
        assert moved.place(template.digest)
    assert not os.listdir(source.paths.incoming)
    return pathlib.Path(target.paths.copy(template.digest))


@pytest.fixture
def two(
    tmp_path: pathlib.Path,
) -> tuple[local.LocalLocation, local.LocalLocation]:
    return attach(Host(tmp_path, 'ssd:a')), attach(Host(tmp_path, 'ssd:b'))


def test_a_copy_moves_to_another_location(
    two: tuple[local.LocalLocation, local.LocalLocation],
) -> None:
    copy = move(*two)
    assert hosts.what_is_wrong(copy) is None
    assert {oct(path.stat().st_mode & 0o777) for path in copy.iterdir()} == {
        '0o444'
    }


def test_a_moved_copy_that_came_out_wrong_is_not_placed(
    two: tuple[local.LocalLocation, local.LocalLocation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def copy_file(source: int, target: int) -> bool:
        os.pwrite(target, DATA[:-1] + bytes([DATA[-1] ^ 1]), 0)
        return False

    monkeypatch.setattr(fsutil, 'copy_file', copy_file)
    with pytest.raises(exceptions.CorruptCopy):
        move(*two)
    assert not os.listdir(two[1].paths.incoming)
    assert not os.listdir(two[1].paths.templates)


def test_the_move_within_a_file_system_is_a_rename(
    two: tuple[local.LocalLocation, local.LocalLocation],
) -> None:
    source, target = two
    with source.stage() as staged:
        staged.write(DATA)
        before = os.stat(staged.directory)
        assert staged.move_by_rename(target.paths)
        assert staged.paths is target.paths
        assert os.path.samestat(os.stat(staged.directory), before)
        assert not os.listdir(source.paths.incoming)
        assert not lock_is_free(pathlib.Path(staged.directory))
    assert not os.listdir(target.paths.incoming)


def test_a_rename_across_file_systems_is_left_to_the_caller(
    two: tuple[local.LocalLocation, local.LocalLocation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rename(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, 'another file system')

    with two[0].stage() as staged:
        monkeypatch.setattr(os, 'rename', rename)
        assert not staged.move_by_rename(two[1].paths)
        assert staged.paths is two[0].paths


# A copy, once it is there


def test_a_copy_in_use_cannot_be_taken_for_removal(
    location: local.LocalLocation,
) -> None:
    copy = place(location)
    one = location.hold(copy.name, wait=0)
    other = location.hold(copy.name, wait=0)
    assert one
    assert other
    one.release()
    assert not lock_is_free(copy)
    other.release()
    assert lock_is_free(copy)


def test_a_copy_that_is_being_removed_is_waited_for(
    location: local.LocalLocation,
) -> None:
    copy = place(location)
    with fsutil.lock_directory(str(copy)):  # type: ignore[union-attr]
        with pytest.raises(exceptions.Unavailable, match='locked'):
            location.hold(copy.name, wait=0)
        location.withdraw(copy.name)
    assert location.hold(copy.name, wait=0) is None


def test_a_withdrawn_copy_leaves_nothing(
    location: local.LocalLocation,
) -> None:
    copy = place(location)
    location.withdraw(copy.name)
    assert not location.holds(copy.name)
    assert not os.listdir(location.paths.templates)
    assert not os.listdir(location.paths.incoming)


def test_a_withdrawn_copy_leaves_its_neighbour(
    location: local.LocalLocation,
) -> None:
    first, second = (place(location, data) for data in hosts.same_shelf())
    assert first.parent == second.parent
    location.withdraw(first.name)
    assert hosts.what_is_wrong(second) is None


def test_two_neighbours_can_be_withdrawn_at_once(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (place(location, data) for data in hosts.same_shelf())
    sync = fsutil.fsync_directory

    def fsync_directory(path: str) -> None:
        monkeypatch.undo()
        location.withdraw(second.name)
        sync(path)

    monkeypatch.setattr(fsutil, 'fsync_directory', fsync_directory)
    location.withdraw(first.name)
    assert not os.listdir(location.paths.templates)
    assert not os.listdir(location.paths.incoming)


def damage(name: str, data: bytes) -> Callable[[pathlib.Path], None]:
    """Return a function that overwrites a file of a copy."""

    def act(copy: pathlib.Path) -> None:
        (copy / name).chmod(0o600)
        (copy / name).write_bytes(data)

    return act


#: What can happen to a copy, short of bit rot in the image: its scrubber's.
DAMAGES = {
    'image truncated': damage('image', DATA[:-1]),
    'image longer': damage('image', DATA + b'x'),
    'image gone': lambda copy: (copy / 'image').unlink(),
    'template.json gone': lambda copy: (copy / 'template.json').unlink(),
    'template.json empty': damage('template.json', b''),
    'template.json not an object': damage('template.json', b'[1]'),
    'template.json lacks a field': damage('template.json', b'{"size": 1}'),
    'template.json not UTF-8': damage('template.json', b'\xff\xfe'),
    'template.json of another': damage(
        'template.json', facts(b'another')[0].to_json()
    ),
    'pieces gone': lambda copy: (copy / 'pieces').unlink(),
    'pieces empty': damage('pieces', b''),
    'pieces cut within a hash': damage('pieces', facts(DATA)[1][:-1]),
    'pieces of another': damage('pieces', facts(bytes(len(DATA)))[1]),
    'pieces all zero': damage('pieces', bytes(len(facts(DATA)[1]))),
    'piece size is nonsense': damage(
        'template.json',
        dataclasses.replace(facts(DATA)[0], piece_size=1).to_json(),
    ),
    'size is nonsense': damage(
        'template.json',
        dataclasses.replace(facts(DATA)[0], size='many').to_json(),
    ),  # type: ignore[arg-type]
    'nothing left': lambda copy: [file.unlink() for file in copy.iterdir()],
}


@pytest.mark.parametrize('act', DAMAGES.values(), ids=DAMAGES)
def test_a_copy_that_is_not_whole_is_quarantined(
    location: local.LocalLocation, act: Callable[[pathlib.Path], None]
) -> None:
    copy = place(location)
    act(copy)
    left = sorted(path.name for path in copy.iterdir())
    with pytest.raises(exceptions.CorruptCopy):
        location.hold(copy.name, wait=0)
    (quarantined,) = pathlib.Path(location.paths.quarantine).iterdir()
    assert quarantined.name.startswith(f'{copy.name}.')
    assert sorted(path.name for path in quarantined.iterdir()) == left
    assert not copy.exists()
    assert hosts.what_is_wrong(place(location)) is None


def test_a_template_can_be_quarantined_twice_within_a_second(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.time, 'time', lambda: 1e9)
    for _ in range(2):
        copy = place(location)
        (copy / 'pieces').unlink()
        with pytest.raises(exceptions.CorruptCopy):
            location.hold(copy.name, wait=0)
    assert len(os.listdir(location.paths.quarantine)) == 2


def test_a_copy_that_cannot_be_read_now_is_not_condemned(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = place(location)

    def no_more_files(*_: object) -> None:
        raise OSError(errno.EMFILE, 'Too many open files')

    monkeypatch.setattr('builtins.open', no_more_files)
    try:
        location.hold(copy.name, wait=0)
    except (OSError, exceptions.TmplError):
        pass
    finally:
        monkeypatch.undo()
    assert hosts.what_is_wrong(copy) is None
    assert lock_is_free(copy)


def test_a_copy_is_condemned_by_who_has_it_alone(
    location: local.LocalLocation,
) -> None:
    copy = place(location)
    (copy / 'pieces').unlink()
    reader = fsutil.lock_directory(str(copy), exclusive=False)
    assert reader is not None
    with reader, pytest.raises(exceptions.Unavailable):
        location.hold(copy.name, wait=0)
    assert copy.exists()


# What crashes leave behind


def test_debris_goes_and_what_is_being_written_stays(
    location: local.LocalLocation,
) -> None:
    incoming = pathlib.Path(location.paths.incoming)
    for name in ('crashed-upload', 'trash-1'):
        (incoming / name).mkdir()
        (incoming / name / 'image').write_bytes(b'half')
    with location.stage() as staged:
        staged.write(DATA)
        assert location.clean_incoming() == 2
        assert os.listdir(incoming) == [os.path.basename(staged.directory)]


def test_a_probe_stays_while_it_may_be_in_use(
    location: local.LocalLocation,
) -> None:
    incoming = pathlib.Path(location.paths.incoming)
    (incoming / '.probe-new').touch()
    (incoming / '.probe-old').touch()
    os.utime(incoming / '.probe-old', (0, 0))
    location.clean_incoming()
    assert os.listdir(incoming) == ['.probe-new']


@pytest.mark.parametrize('placed', [False, True])
def test_what_another_process_takes_away_meanwhile_is_no_trouble(
    location: local.LocalLocation,
    monkeypatch: pytest.MonkeyPatch,
    placed: bool,
) -> None:
    (pathlib.Path(location.paths.incoming) / 'debris').mkdir()
    template, pieces = facts(DATA)
    listdir = os.listdir
    with location.stage() as staged:
        staged.seal(template, pieces)

        def listdir_early(path: str) -> list[str]:
            monkeypatch.undo()
            names = [*listdir(path), '.probe-gone']
            if placed:
                staged.place(template.digest)
            # The debris comes after what has just gone.
            return sorted(names, key=lambda name: name == 'debris')

        monkeypatch.setattr(os, 'listdir', listdir_early)
        location.clean_incoming()
        assert 'debris' not in os.listdir(location.paths.incoming)


def test_what_cannot_be_removed_stays_and_is_no_trouble(
    location: local.LocalLocation,
) -> None:
    foreign = pathlib.Path(location.paths.incoming) / 'foreign' / 'directory'
    foreign.mkdir(parents=True)
    location.clean_incoming()
    assert foreign.exists()


# Room


def test_a_location_under_its_reserve_takes_nothing(
    one_disk: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = attach(one_disk, reserve=10)
    monkeypatch.setattr(fsutil, 'free_bytes', lambda path: (150, 1000))
    assert location.has_room(50)
    assert not location.has_room(51)
    location.stage().__exit__()
    monkeypatch.setattr(fsutil, 'free_bytes', lambda path: (99, 1000))
    with pytest.raises(exceptions.NoSpace, match='tmpl_store_reserve'):
        location.stage()
    assert not os.listdir(location.paths.incoming)


def test_a_location_that_runs_full_meanwhile_ends_the_upload(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with location.stage() as staged:
        staged.write(b'first')
        monkeypatch.setattr(fsutil, 'free_bytes', lambda path: (-1, 1000))
        batch, written = bytes(1 << 20), 0
        with pytest.raises(exceptions.NoSpace):
            while written < 1 << 30:
                staged.write(batch)
                written += len(batch)
    assert written <= 64 << 20


def test_a_disk_that_does_not_answer_has_no_room(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statvfs(path: str) -> None:
        raise OSError(errno.EIO, 'gone')

    monkeypatch.setattr(os, 'statvfs', statvfs)
    assert not location.has_room(0)
    assert location.free() == 0


@pytest.mark.parametrize('error', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_from_a_forbidden_one(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def mkdir(path: str) -> None:
        raise OSError(error, os.strerror(error), path)

    monkeypatch.setattr(os, 'mkdir', mkdir)
    with pytest.raises(exceptions.NoSpace):
        location.stage()


def test_a_forbidden_location_is_told_by_a_probe(
    location: local.LocalLocation, forbid: Forbid
) -> None:
    location.probe()
    forbid(pathlib.Path(location.paths.incoming))
    with pytest.raises(exceptions.WriteDenied):
        location.probe()
    with pytest.raises(exceptions.WriteDenied):
        location.stage()
    forbid.lift()
    location.probe()
    assert not os.listdir(location.paths.incoming)


# All locations of a host


@pytest.fixture
def tiers(tmp_path: pathlib.Path) -> local_store.LocalStore:
    """An HDD, an SSD and a staging location, in this order."""
    store = local_store.LocalStore(
        Host(tmp_path, 'hdd:h:1', 'ssd:s:1', 'staging:t:1').options.locations
    )
    store.attach([])
    return store


def stage_in(store: local_store.LocalStore) -> str:
    """Return the name of the location that is written first."""
    with store.stage(1) as staged:
        return os.path.basename(staged.paths.root)


def test_uploads_go_to_staging_first_then_where_most_is_free(
    tiers: local_store.LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {'h': 2 << 30, 's': 1 << 30, 't': 1 << 20}
    monkeypatch.setattr(
        fsutil,
        'free_bytes',
        lambda path: (free[os.path.basename(path)], 4 << 30),
    )
    assert stage_in(tiers) == 't'
    free['t'] = 0
    assert stage_in(tiers) == 'h'
    free['s'] = 3 << 30
    assert stage_in(tiers) == 's'
    free.update(h=0, s=0)
    with pytest.raises(exceptions.NoSpace, match='tmpl_store_locations'):
        stage_in(tiers)


def test_uploads_do_not_go_to_a_draining_location(
    tiers: local_store.LocalStore,
) -> None:
    staging_location = tiers.locations[2]
    staging_location.record = dataclasses.replace(
        staging_location.record, state=objects.DRAINING
    )
    assert stage_in(tiers) != 't'


def test_one_location_that_cannot_be_written_does_not_stop_uploads(
    tiers: local_store.LocalStore, forbid: Forbid
) -> None:
    for location in tiers.locations[1:]:
        forbid(pathlib.Path(location.paths.incoming))
    assert stage_in(tiers) == 'h'
    forbid(pathlib.Path(tiers.locations[0].paths.incoming))
    with pytest.raises(exceptions.WriteDenied):
        stage_in(tiers)


def test_locations_that_are_refused_are_tried_again(
    host: Host, tmp_path: pathlib.Path
) -> None:
    (tmp_path / 'b').write_text('in the way')
    store = local_store.LocalStore(host.options.locations)
    for _ in range(2):
        store.attach([])
        assert [each.paths.root for each in store.locations] == [
            str(tmp_path / 'a'),
            str(tmp_path / 'c'),
        ]
        (problem,) = store.refused
        assert str(tmp_path / 'b') in problem
    (tmp_path / 'b').unlink()
    store.attach([])
    healed = store.at(str(tmp_path / 'b'))
    assert store.refused == []
    assert store.get(healed.record.id) is healed


def test_the_log_tells_a_refusal_once(
    host: Host, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'b').write_text('in the way')
    store = local_store.LocalStore(host.options.locations)
    for _ in range(3):
        store.attach([])
    assert [record.levelname for record in caplog.records] == ['ERROR']


def test_locations_can_be_attached_by_two_threads_at_once(
    one_disk: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = local_store.LocalStore(one_disk.options.locations)
    meet = threading.Barrier(2)
    once = local.attach

    def attach_together(*args: object) -> local.LocalLocation:
        location = once(*args)  # type: ignore[arg-type]
        with contextlib.suppress(threading.BrokenBarrierError):
            meet.wait(0.3)  # in vain if only one at a time is let in
        return location

    monkeypatch.setattr(local, 'attach', attach_together)
    problems: list[Exception] = []

    def open_it() -> None:
        try:
            store.attach([])
        except Exception as exc:
            problems.append(exc)

    threads = [threading.Thread(target=open_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(store.locations) == 1


def test_a_location_is_usable_if_it_is_there_and_has_room(
    tiers: local_store.LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hdd, ssd, stage = tiers.locations
    usable = tiers.usable(100, stage.paths.incoming)
    assert usable(ssd.record)
    os.unlink(ssd.paths.marker)
    assert not usable(ssd.record)
    assert usable(hdd.record)
    monkeypatch.setattr(fsutil, 'free_bytes', lambda path: (99, 1000))
    assert usable(hdd.record), 'the bytes are on this file system already'
    monkeypatch.setattr(
        local.LocalLocation, 'shares_disk', lambda self, path: False
    )
    assert not usable(hdd.record)
    other = dataclasses.replace(hdd.record, id='other', node='other')
    assert usable(other), 'the other node has to see for itself'


def test_problems_name_every_location_that_cannot_be_used(
    host: Host, tmp_path: pathlib.Path
) -> None:
    (tmp_path / 'b').write_text('in the way')
    store = local_store.LocalStore(host.options.locations)
    store.attach([])
    (tmp_path / 'c' / 'location.json').unlink()
    refused, gone = store.problems()
    assert str(tmp_path / 'b') in refused
    assert str(tmp_path / 'c') in gone


def test_entries_of_a_location_are_found_whatever_they_are(
    tmp_path: pathlib.Path,
) -> None:
    where = layout.Paths(str(tmp_path))
    (tmp_path / 'templates' / 'ab' / 'copy').mkdir(parents=True)
    (tmp_path / 'templates' / 'zz' / 'else').mkdir(parents=True)
    (tmp_path / 'templates' / 'file').touch()
    assert where.entries() == [
        str(tmp_path / 'templates/ab/copy'),
        str(tmp_path / 'templates/zz/else'),
    ]


def test_a_lock_goes_with_the_process_that_held_it(
    tmp_path: pathlib.Path,
) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        lock = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(write, b'!')
        threading.Event().wait()
    assert os.read(read, 1) == b'!'
    assert not lock_is_free(tmp_path)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert lock_is_free(tmp_path)
    os.close(read)
    os.close(write)
