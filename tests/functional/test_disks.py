# SPDX-License-Identifier: Apache-2.0
"""Real disks: full, read-only, gone, and of different kinds.

Needs root, to mount: everything is unmounted afterwards, whatever happens.
"""

import io
import os
import pathlib
import resource
import time
from collections.abc import Callable
from typing import Any

import pytest
from glance_store import exceptions
from glance_store.capabilities import BitMasks

from harness import host as hosts
from harness.disks import MIB
from harness.disks import Disks
from harness.disks import run
from harness.host import Host
from harness.host import at
from harness.host import download
from tmpl_glance_store import driver
from tmpl_glance_store import exceptions as our_exceptions
from tmpl_glance_store import fsutil

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can mount the disks it needs'
)

DATA = hosts.content(5 * MIB + 123)


def upload(
    store: driver.Store, data: bytes = DATA, size: int | None = None
) -> str:
    """Add an image, and return its URL."""
    return store.add(
        hosts.new_id(),
        io.BytesIO(data),
        len(data) if size is None else size,
        'sha256',
    )[0]


def used(path: pathlib.Path) -> int:
    """Return the bytes in use on a disk."""
    stats = os.statvfs(path)
    return (stats.f_blocks - stats.f_bfree) * stats.f_frsize


def falls_to(path: pathlib.Path, limit: int) -> bool:
    """Wait until at most *limit* bytes are in use.

    XFS frees in the background what was deleted.
    """
    deadline = time.monotonic() + 60
    while used(path) > limit and time.monotonic() < deadline:
        time.sleep(0.05)
    return used(path) <= limit


# Full


@pytest.mark.parametrize('declared', [len(DATA), 0])
@pytest.mark.parametrize(
    ('kind', 'size'), [('tmpfs', 8 * MIB), ('ext4', 0), ('xfs', 0)]
)
def test_a_full_disk_is_storage_full_and_leaves_nothing(
    disks: Disks, tmp_path: pathlib.Path, kind: str, size: int, declared: int
) -> None:
    disk = disks.mount('ssd', kind, size)
    host = Host(tmp_path, 'ssd:ssd/tmpl')
    store = host.store()
    before = upload(store, b'was there before')
    with open(disk / 'filler', 'wb') as filler:
        os.posix_fallocate(
            filler.fileno(), 0, fsutil.free_bytes(str(disk))[0] - 3 * MIB
        )
    taken = used(disk)
    with pytest.raises(exceptions.StorageFull):
        upload(store, DATA, declared)
    assert host.unfinished() == []
    assert len(host.copies()) == 1
    # XFS makes metadata as it goes, and keeps them: 2 MiB were seen.
    assert falls_to(disk, taken + MIB // 4 + (2 * MIB if kind == 'xfs' else 0))
    assert download(store, before) == b'was there before'
    assert host.disagreements() == []
    # What has room still goes, and what had none does when there is some.
    assert download(store, upload(store, DATA[:MIB])) == DATA[:MIB]
    (disk / 'filler').unlink()
    assert download(store, upload(store, DATA, declared)) == DATA
    assert host.disagreements() == []


def test_an_image_can_be_deleted_from_a_disk_without_a_byte_left(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disk = disks.mount('ssd', 'tmpfs', 8 * MIB)
    host = Host(tmp_path, 'ssd:ssd/tmpl')
    store = host.store()
    url = upload(store)
    with (
        pytest.raises(OSError, match='No space'),
        open(disk / 'filler', 'wb', buffering=0) as filler,
    ):
        while True:
            filler.write(bytes(4096))
    with pytest.raises(exceptions.StorageFull):
        upload(store, b'more')
    # A start is no reason to give up a disk because it is full.
    store = host.store()
    assert store.is_capable(BitMasks.WRITE_ACCESS)
    assert download(store, url) == DATA
    store.delete(at(store, url))
    assert host.is_clean()


@pytest.mark.parametrize('declared', [len(DATA), 0])
def test_the_reserve_is_left_untouched(
    disks: Disks, tmp_path: pathlib.Path, declared: int
) -> None:
    disks.mount('ssd', 'tmpfs', 16 * MIB)
    host = Host(tmp_path, 'ssd:ssd/tmpl', tmpl_store_reserve=75.0)
    store = host.store()
    with pytest.raises(exceptions.StorageFull):
        upload(store, DATA, declared)
    assert host.is_clean()
    assert download(store, upload(store, DATA[:MIB])) == DATA[:MIB]


def test_a_full_disk_passes_the_template_on_to_the_next(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disks.mount('small', 'tmpfs', 4 * MIB)
    disks.mount('large', 'tmpfs', 64 * MIB)
    # By its weight, the small disk would get nearly everything.
    host = Host(tmp_path, 'ssd:small/tmpl:1000', 'ssd:large/tmpl:1')
    store = host.store()
    assert download(store, upload(store)) == DATA
    (copy,) = host.copies()
    assert copy.is_relative_to(tmp_path / 'large')
    assert host.disagreements() == []


def test_the_file_size_limit_is_storage_full(tmp_path: pathlib.Path) -> None:
    host = Host(tmp_path)
    store = host.store()
    before = upload(store, b'was there before')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, hard))
    try:
        for data in (DATA, bytes(len(DATA))):
            with pytest.raises(exceptions.StorageFull):
                upload(store, data)
            assert len(host.copies()) == 1
            assert host.unfinished() == []
        assert download(store, upload(store, DATA[:MIB])) == DATA[:MIB]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert download(store, before) == b'was there before'
    assert download(store, upload(store)) == DATA
    assert host.disagreements() == []


# Moved


def moves(host: Host, look: Callable[[str], Any]) -> dict[str, Any]:
    """Upload DATA, which has to move; return what *look* saw at each step."""
    seen = {}
    parts = host.parts(lambda step: seen.update({step: look(step)}))
    image = hosts.add(parts, DATA)
    assert hosts.read(parts, image) == DATA
    assert host.disagreements() == []
    (copy,) = host.copies()
    assert copy.is_relative_to(host.paths[1])
    return seen


@pytest.mark.parametrize(
    'kinds',
    [('tmpfs', 'ext4'), ('ext4', 'tmpfs'), ('ext4', 'xfs'), ('xfs', 'ext4')],
    ids=' to '.join,
)
def test_a_template_moves_to_a_disk_of_another_kind(
    disks: Disks, tmp_path: pathlib.Path, kinds: tuple[str, str]
) -> None:
    for name, kind in zip('st', kinds, strict=True):
        disks.mount(name, kind, 64 * MIB)
    host = Host(tmp_path, 'staging:s/tmpl', 'ssd:t/tmpl')
    before = used(tmp_path / 's')
    moves(host, lambda step: None)
    assert falls_to(tmp_path / 's', before + MIB)


def test_a_move_on_one_xfs_shares_the_bytes(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disk = disks.mount('xfs', 'xfs')
    disks.bind(disk / 'one', 's')
    disks.bind(disk / 'two', 't')
    host = Host(tmp_path, 'staging:s/tmpl', 'ssd:t/tmpl')
    with (
        open(disk / 'a', 'w+b') as source,
        open(tmp_path / 't' / 'b', 'w+b') as target,
    ):
        source.write(b'x' * 4096)
        source.flush()
        if not fsutil.copy_file(source.fileno(), target.fileno()):
            pytest.skip('this kernel does not reflink across mounts')

    def inodes_and_bytes(step: str) -> tuple[int, int]:
        found = list(tmp_path.glob('[st]/tmpl/incoming/*/image'))
        return len(found), used(disk)

    before = used(disk)
    seen = moves(host, inodes_and_bytes)
    # There are two files, yet the disk holds the bytes once.
    assert seen['moved'][0] == 2
    assert seen['moved'][1] - before < 1.5 * len(DATA)


def test_a_move_within_one_mount_is_a_rename(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disks.mount('d', 'ext4')
    host = Host(tmp_path, 'staging:d/s', 'ssd:d/t')

    def inodes(step: str) -> set[int]:
        return {
            path.stat().st_ino for path in tmp_path.glob('d/[st]/**/image')
        }

    seen = moves(host, inodes)
    assert len(seen['sealed']) == 1
    assert seen['sealed'] == seen['moved'] == seen['bound']


def test_the_target_being_full_is_noticed_before_the_move(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disks.mount('s', 'tmpfs', 64 * MIB)
    disks.mount('t', 'tmpfs', 4 * MIB)
    host = Host(tmp_path, 'staging:s/tmpl', 'ssd:t/tmpl')
    store = host.store()
    with pytest.raises(exceptions.StorageFull):
        upload(store)
    assert host.is_clean()


HOLE = 16 * MIB


@pytest.mark.parametrize(
    'kinds', [('ext4', None), ('ext4', 'xfs'), ('tmpfs', 'ext4')], ids=str
)
def test_zeros_are_holes_wherever_the_template_goes(
    disks: Disks, tmp_path: pathlib.Path, kinds: tuple[str, str | None]
) -> None:
    disks.mount('s', kinds[0], 64 * MIB)
    if kinds[1]:
        disks.mount('t', kinds[1])
    target = 't' if kinds[1] else 's'
    host = Host(tmp_path, 'staging:s/one', f'ssd:{target}/two')
    store = host.store()
    data = (
        bytes(HOLE)
        + DATA[:MIB]
        + bytes(HOLE)
        + DATA[MIB : 2 * MIB]
        + bytes(HOLE)
    )
    url = upload(store, data)
    assert download(store, url) == data
    (copy,) = host.copies()
    status = (copy / 'image').stat()
    assert status.st_size == len(data)
    assert 2 * MIB <= status.st_blocks * 512 <= 2 * MIB + MIB // 2
    assert host.disagreements() == []


# Read-only


def test_a_disk_that_turns_read_only_denies_and_heals(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disk = disks.mount('ssd', 'ext4')
    host = Host(tmp_path, 'ssd:ssd/tmpl')
    store = host.store()
    url = upload(store)
    run('mount', '-o', 'remount,ro', disk)
    with pytest.raises(exceptions.StorageWriteDenied):
        upload(store, b'more')
    with pytest.raises(exceptions.Forbidden):
        store.delete(at(store, url))
    assert download(store, url) == DATA
    run('mount', '-o', 'remount,rw', disk)
    assert download(store, upload(store, b'more')) == b'more'
    store.delete(at(store, url))
    assert host.disagreements() == []


def test_a_disk_that_is_read_only_at_the_start_can_be_read_and_heals(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disk = disks.mount('ssd', 'ext4')
    host = Host(tmp_path, 'ssd:ssd/tmpl')
    url = upload(host.store())
    # A crash left something, which cannot be cleaned up now.
    host.parts().catalog.copies.intend('ab' * 32, host.copies()[0].name)
    (host.paths[0] / 'incoming' / 'debris').mkdir()
    (host.paths[0] / 'templates' / 'zz' / 'no-copy').mkdir(parents=True)
    run('mount', '-o', 'remount,ro', disk)
    store = host.store()
    assert download(store, url) == DATA
    with pytest.raises(exceptions.StoreAddDisabled):
        upload(store, b'more')
    with pytest.raises(exceptions.StoreDeleteNotSupported):
        store.delete(at(store, url))
    run('mount', '-o', 'remount,rw', disk)
    assert download(store, upload(store, b'more')) == b'more'
    store.delete(at(store, url))
    host.parts()
    assert host.unfinished() == []


def test_one_read_only_disk_does_not_stop_the_others(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disk = disks.mount('a', 'ext4')
    disks.mount('b', 'ext4')
    host = Host(tmp_path, 'ssd:a/tmpl:1', 'ssd:b/tmpl:1')
    store = host.store()
    urls = hosts.spread(host, lambda data: upload(store, data))
    run('mount', '-o', 'remount,ro', disk)
    problems = []
    for seed in range(12):
        data = hosts.content(1000, seed)
        try:
            assert download(store, upload(store, data)) == data
        except exceptions.StorageWriteDenied as exc:
            problems.append(exc)
    assert problems == []
    for data, url in urls.items():
        assert download(store, url) == data
    run('mount', '-o', 'remount,rw', disk)
    assert host.disagreements() == []


# Gone


def test_a_disk_that_is_unmounted_in_use_is_refused_and_heals(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    for name in 'ab':
        disks.mount(name, 'ext4')
    host = Host(tmp_path, 'ssd:a/tmpl:1', 'ssd:b/tmpl:1')
    store = host.store()
    urls = hosts.spread(host, lambda data: upload(store, data))
    gone = {path.name for path in (tmp_path / 'a').glob('tmpl/templates/*/*')}
    run('umount', tmp_path / 'a')
    for data, url in urls.items():
        if url.split('/')[4] in gone:
            with pytest.raises(exceptions.RemoteServiceUnavailable):
                store.get(at(store, url))
        else:
            assert download(store, url) == data
    for seed in range(12):
        data = hosts.content(1000, seed)
        urls[data] = upload(store, data)
    assert list((tmp_path / 'a').iterdir()) == [], 'nothing lies beneath'
    run('mount', '-o', 'loop', tmp_path / 'a.disk', tmp_path / 'a')
    for data, url in urls.items():
        assert download(store, url) == data
    assert host.disagreements() == []
    assert hosts.spread(host, lambda data: upload(store, data))


def test_a_disk_that_is_not_mounted_at_the_start_is_used_once_it_is(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disks.mount('a', 'ext4')
    host = Host(tmp_path, 'ssd:a/tmpl')
    url = upload(host.store())
    run('umount', tmp_path / 'a')
    store = host.store()
    with pytest.raises(exceptions.StoreAddDisabled):
        upload(store, b'more')
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        store.get(at(store, url))
    assert store.get_size(at(store, url)) == len(DATA)
    assert list((tmp_path / 'a').iterdir()) == [], 'nothing lies beneath'
    run('mount', '-o', 'loop', tmp_path / 'a.disk', tmp_path / 'a')
    assert download(store, url) == DATA
    assert download(store, upload(store, b'more')) == b'more'
    assert host.disagreements() == []


@pytest.mark.parametrize(
    'step', ['staged', 'hashed', 'sealed', 'moved', 'intended']
)
def test_a_disk_that_goes_during_an_upload_gets_nothing_beneath_it(
    disks: Disks, tmp_path: pathlib.Path, step: str
) -> None:
    disks.mount('a', 'ext4')
    host = Host(tmp_path, 'ssd:a/tmpl')
    host.parts()

    def unplug(name: str) -> None:
        if name == step:
            run('umount', '--lazy', tmp_path / 'a')

    parts = host.parts(unplug)
    with pytest.raises((OSError, our_exceptions.TmplError)) as caught:
        hosts.add(parts, DATA, 'image-1')
    assert list((tmp_path / 'a').iterdir()) == [], 'nothing lies beneath'
    assert host.records('images') == {}
    del caught
    run('mount', '-o', 'loop', tmp_path / 'a.disk', tmp_path / 'a')
    parts = host.parts()
    assert host.is_clean()
    assert hosts.read(parts, hosts.add(parts, DATA, 'image-1')) == DATA


def test_another_disk_at_the_mount_point_is_not_taken_for_the_old_one(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disks.mount('a', 'ext4')
    host = Host(tmp_path, 'ssd:a/tmpl')
    store = host.store()
    url = upload(store)
    run('umount', tmp_path / 'a')
    run('mount', '-t', 'tmpfs', 'tmpfs', tmp_path / 'a')
    try:
        for each in (store, host.store()):
            with pytest.raises(
                (exceptions.StorageWriteDenied, exceptions.StoreAddDisabled)
            ):
                upload(each, b'more')
            with pytest.raises(exceptions.RemoteServiceUnavailable):
                each.get(at(each, url))
        assert list((tmp_path / 'a').iterdir()) == []
        # The operator says that the old one will not come back.
        (tmp_path / 'a' / 'tmpl').mkdir()
        (tmp_path / 'a' / 'tmpl' / 'replaced').touch()
        fresh = upload(host.store(), b'on the new disk')
        assert download(host.store(), fresh) == b'on the new disk'
    finally:
        run('umount', '--lazy', tmp_path / 'a')
        run('mount', '-o', 'loop', tmp_path / 'a.disk', tmp_path / 'a')


# What the kernel says


def test_a_loop_device_has_the_tier_that_the_kernel_tells(
    disks: Disks, tmp_path: pathlib.Path
) -> None:
    disk = disks.mount('a', 'ext4')
    device = os.stat(disk).st_dev
    rotational = (
        pathlib.Path(
            f'/sys/dev/block/{os.major(device)}:{os.minor(device)}'
            '/queue/rotational'
        )
        .read_text()
        .strip()
    )
    (location,) = Host(tmp_path, 'auto:a/tmpl').parts().catalog.locations.all()
    assert location.tier == ('hdd' if rotational == '1' else 'ssd')
    total = os.statvfs(disk)
    assert location.weight == pytest.approx(
        total.f_blocks * total.f_frsize / (1 << 30), abs=0.001
    )
