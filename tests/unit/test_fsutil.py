# SPDX-License-Identifier: Apache-2.0
import errno
import fcntl
import gc
import itertools
import os
import stat
import threading
import types

import hypothesis
import pytest
from hypothesis import strategies as st

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil

KIB, MIB = 1 << 10, 1 << 20


def failing(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


def name_of(fd):
    return os.path.basename(os.readlink(f'/proc/self/fd/{fd}'))


def open_files():
    return len(os.listdir('/proc/self/fd'))


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture(autouse=True)
def no_file_is_left_open():
    gc.collect()  # earlier tests may have left some to the collector
    before = open_files()
    yield
    assert open_files() == before


@pytest.fixture
def calls(monkeypatch):
    """The order of what matters to a power loss: ``(call, file, …)``."""
    calls = []

    def record(name, describe):
        real = getattr(os, name)

        def call(*args, **kwargs):
            calls.append((name, *describe(*args)))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    def names(*paths):
        return map(os.path.basename, paths)

    record(
        'fsync',
        lambda fd: (
            name_of(fd),
            os.fstat(fd).st_size
            if stat.S_ISREG(os.fstat(fd).st_mode)
            else 'directory',
        ),
    )
    record('rename', names)
    record('link', names)
    record('ftruncate', lambda fd, size: (name_of(fd), size))
    record('fchmod', lambda fd, mode: (name_of(fd), mode))
    return calls


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / 'directory'
    directory.mkdir()
    return directory


# Durable writes


def test_a_durable_write_is_whole_before_it_gets_its_name(directory, calls):
    fsutil.write_durably(f'{directory}/a', b'data', 0o640)
    temp = calls[0][1]
    assert temp.startswith('.')
    assert calls == [
        ('fchmod', temp, 0o640),
        ('fsync', temp, 4),
        ('rename', temp, 'a'),
        ('fsync', 'directory', 'directory'),
    ]
    assert (directory / 'a').read_bytes() == b'data'
    assert mode_of(directory / 'a') == 0o640


def test_a_durable_write_replaces(directory):
    for data in (b'old', b'new'):
        fsutil.write_durably(f'{directory}/a', data)
    assert (directory / 'a').read_bytes() == b'new'
    assert os.listdir(directory) == ['a']
    assert mode_of(directory / 'a') == 0o444


@pytest.mark.parametrize('call', ['fchmod', 'fsync', 'rename'])
@pytest.mark.parametrize('old', [None, b'old'])
def test_a_durable_write_that_fails_changes_nothing(
    monkeypatch, directory, call, old
):
    if old:
        (directory / 'a').write_bytes(old)
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(OSError, match='space'):
        fsutil.write_durably(f'{directory}/a', b'new')
    assert [p.read_bytes() for p in directory.iterdir()] == (
        [old] if old else []
    )


def test_an_interrupted_durable_write_leaves_no_temp(monkeypatch, directory):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', interrupt)
    with pytest.raises(KeyboardInterrupt):
        fsutil.write_durably(f'{directory}/a', b'new')
    assert os.listdir(directory) == []


def test_a_durable_creation_is_whole_before_it_gets_its_name(directory, calls):
    assert fsutil.create_durably(f'{directory}/a', b'data', 0o640)
    linked = [call[0] for call in calls].index('link')
    before, after = calls[:linked], calls[linked + 1 :]
    assert [c for c in before if c[0] == 'fsync' and c[2] == 4]
    assert calls[linked][2] == 'a'
    assert after == [('fsync', 'directory', 'directory')]
    assert (directory / 'a').read_bytes() == b'data'
    assert mode_of(directory / 'a') == 0o640
    assert os.listdir(directory) == ['a']


def test_a_durable_creation_never_replaces(directory):
    (directory / 'a').write_bytes(b'old')
    assert not fsutil.create_durably(f'{directory}/a', b'new')
    assert (directory / 'a').read_bytes() == b'old'
    assert os.listdir(directory) == ['a']


def test_one_of_many_threads_creates_a_file(directory):
    start, told = threading.Barrier(8), {}

    def create(number):
        start.wait(60)
        told[number] = fsutil.create_durably(f'{directory}/a', b'%d' % number)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for number, won in told.items() if won]
    assert (directory / 'a').read_bytes() == b'%d' % winner
    assert os.listdir(directory) == ['a']


@pytest.mark.parametrize('call', ['fchmod', 'fsync', 'link'])
def test_a_durable_creation_that_fails_leaves_nothing(
    monkeypatch, directory, call
):
    monkeypatch.setattr(os, call, failing(errno.EDQUOT))
    with pytest.raises(OSError, match='quota'):
        fsutil.create_durably(f'{directory}/a', b'new')
    assert os.listdir(directory) == []


def test_a_creation_whose_directory_cannot_be_synced_leaves_no_temp(
    monkeypatch, directory
):
    monkeypatch.setattr(fsutil, 'fsync_directory', failing(errno.EIO))
    with pytest.raises(OSError, match='Input/output'):
        fsutil.create_durably(f'{directory}/a', b'new')
    assert set(os.listdir(directory)) <= {'a'}


def test_a_directory_is_made_for_everybody_whatever_the_umask(directory):
    old = os.umask(0o077)
    try:
        fsutil.make_directory(f'{directory}/d')
    finally:
        os.umask(old)
    assert mode_of(directory / 'd') == 0o755
    (directory / 'd').chmod(0o700)
    fsutil.make_directory(f'{directory}/d')
    assert mode_of(directory / 'd') == 0o700


@pytest.mark.parametrize(
    ('number', 'error'),
    [
        (errno.ENOSPC, exceptions.NoSpace),
        (errno.EDQUOT, exceptions.NoSpace),
        (errno.EFBIG, exceptions.NoSpace),
        (errno.EACCES, exceptions.WriteDenied),
        (errno.EPERM, exceptions.WriteDenied),
        (errno.EROFS, exceptions.WriteDenied),
        (errno.EIO, OSError),
        (errno.ENOENT, FileNotFoundError),
    ],
)
def test_an_os_error_tells_what_to_do(number, error):
    cause = OSError(number, os.strerror(number))
    with pytest.raises(error) as info, fsutil.os_errors():
        raise cause
    assert cause in (info.value, info.value.__cause__)
    assert os.strerror(number) in str(info.value)


def test_free_bytes_are_those_of_an_unprivileged_user(monkeypatch):
    monkeypatch.setattr(
        os,
        'statvfs',
        lambda path: types.SimpleNamespace(
            f_bavail=3, f_bfree=5, f_blocks=10, f_frsize=512, f_bsize=4096
        ),
    )
    assert fsutil.free_bytes('/') == (3 * 512, 10 * 512)


# Sparse files


def written(path, chunks, mode=0o444):
    writer = fsutil.SparseWriter(str(path))
    for chunk in chunks:
        writer.write(chunk)
    writer.finish(mode)
    return path.read_bytes()


def data_bytes(path):
    """Return how much of a file is not a hole."""
    with open(path, 'rb') as file:
        return sum(
            end - start
            for start, end in fsutil.data_extents(
                file.fileno(), os.stat(path).st_size
            )
        )


# Runs of zeros and of data around the size of a hole, which is small here.
runs = st.lists(
    st.tuples(
        st.sampled_from([b'\0', b'x']),
        st.one_of(st.integers(0, 300), st.sampled_from([64, 128, 192, 4096])),
    ),
    max_size=12,
).map(lambda found: b''.join(b * n for b, n in found))
SETTINGS = hypothesis.settings(
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


@SETTINGS
@hypothesis.given(runs, st.lists(st.integers(0, 3000)))
def test_a_sparse_file_has_the_bytes_of_the_stream(tmp_path, data, cuts):
    path, edges = tmp_path / 'f', [0, *sorted(cuts), len(data)]
    path.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fsutil, 'HOLE', 64)
        patch.setattr(fsutil, '_ZEROS', bytes(64))
        assert (
            written(path, [data[a:b] for a, b in itertools.pairwise(edges)])
            == data
        )


@pytest.mark.parametrize(
    ('chunks', 'most'),
    [
        ([bytes(4 * MIB)], 0),
        ([bytes(MIB)] * 4, 0),
        ([b'x' * 64 * KIB + bytes(MIB) + b'x' * 64 * KIB], 128 * KIB),
        ([b'x' + bytes(MIB - 1), bytes(MIB)], 64 * KIB),
        ([bytes(MIB), bytes(MIB - 1) + b'x'], 64 * KIB),
        ([b'xyz' + bytes(MIB), bytes(MIB) + b'x'], 192 * KIB),
    ],
)
def test_long_runs_of_zeros_become_holes(tmp_path, chunks, most):
    assert written(tmp_path / 'f', chunks) == b''.join(chunks)
    assert data_bytes(tmp_path / 'f') <= most
    assert os.stat(tmp_path / 'f').st_blocks * 512 <= most + 16 * KIB


def test_a_sparse_file_is_complete_before_it_is_synced(tmp_path, calls):
    written(tmp_path / 'f', [b'x', bytes(MIB)], 0o640)
    assert calls == [
        ('ftruncate', 'f', MIB + 1),
        ('fchmod', 'f', 0o640),
        ('fsync', 'f', MIB + 1),
    ]
    assert mode_of(tmp_path / 'f') == 0o640


def test_an_empty_sparse_file_can_be_finished(tmp_path):
    assert written(tmp_path / 'f', []) == b''
    assert mode_of(tmp_path / 'f') == 0o444


def test_a_file_in_the_making_is_its_owners_alone(tmp_path):
    writer = fsutil.SparseWriter(str(tmp_path / 'f'))
    assert mode_of(tmp_path / 'f') == 0o600
    del writer


def test_a_sparse_file_is_always_a_new_one(tmp_path):
    (tmp_path / 'f').write_bytes(b'old')
    with pytest.raises(FileExistsError):
        fsutil.SparseWriter(str(tmp_path / 'f'))
    assert (tmp_path / 'f').read_bytes() == b'old'


def test_a_short_write_is_continued(monkeypatch, tmp_path):
    pwrite = os.pwrite
    monkeypatch.setattr(
        os, 'pwrite', lambda fd, data, at: pwrite(fd, data[:7], at)
    )
    data = os.urandom(100)
    assert written(tmp_path / 'f', [data[:33], data[33:]]) == data


def test_a_write_that_fails_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(os, 'pwrite', failing(errno.ENOSPC))
    writer = fsutil.SparseWriter(str(tmp_path / 'f'))
    with pytest.raises(OSError, match='space'):
        writer.write(b'x')


def test_an_unfinished_file_is_closed_when_nobody_needs_it(tmp_path):
    before = open_files()
    writer = fsutil.SparseWriter(str(tmp_path / 'f'))
    writer.write(b'x')
    assert open_files() == before + 1
    del writer
    assert open_files() == before


@pytest.mark.parametrize('length', [0, 1, 5, 100])
def test_the_head_of_what_was_written_can_be_read(tmp_path, length):
    writer = fsutil.SparseWriter(str(tmp_path / 'f'))
    assert writer.head(length) == b''
    writer.write(b'abc')
    writer.write(bytes(MIB))
    assert writer.head(length) == (b'abc' + bytes(97))[:length]


# Copies

#: Errors of copy_file_range between file systems, or of an older kernel.
ELSEWHERE = [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP]


def copied(source, target):
    """Copy one path to another; return what copy_file() returned."""
    with open(source, 'rb') as read, open(target, 'wb') as write:
        return fsutil.copy_file(read.fileno(), write.fileno())


@pytest.fixture
def holey(tmp_path):
    """A file of data, holes and data, and a hole at its end."""
    path = tmp_path / 'source'
    with open(path, 'wb') as file:
        for at, data in (
            (0, b'a' * 5000),
            (MIB, b'b' * 100_000),
            (3 * MIB + 5, b'c'),
        ):
            file.seek(at)
            file.write(data)
        file.truncate(4 * MIB)
        os.fsync(file.fileno())
    return path


def test_a_copy_keeps_the_bytes_and_the_holes(tmp_path, holey):
    copied(holey, tmp_path / 'target')
    assert (tmp_path / 'target').read_bytes() == holey.read_bytes()
    assert data_bytes(tmp_path / 'target') == data_bytes(holey) < 256 * KIB


@pytest.mark.parametrize('number', ELSEWHERE)
def test_a_copy_to_another_file_system_keeps_the_bytes_and_the_holes(
    monkeypatch, tmp_path, holey, number
):
    monkeypatch.setattr(os, 'copy_file_range', failing(number))
    assert copied(holey, tmp_path / 'target') is False
    assert (tmp_path / 'target').read_bytes() == holey.read_bytes()
    assert data_bytes(tmp_path / 'target') == data_bytes(holey)


@SETTINGS
@hypothesis.given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20_000)), max_size=6),
    st.booleans(),
)
def test_any_file_is_copied(tmp_path, parts, elsewhere):
    source, target = tmp_path / 'source', tmp_path / 'target'
    with open(source, 'wb') as file:
        for hole, size in parts:
            if hole:
                file.seek(size, os.SEEK_CUR)
            else:
                file.write(os.urandom(size))
        file.truncate()
    with pytest.MonkeyPatch.context() as patch:
        if elsewhere:
            patch.setattr(os, 'copy_file_range', failing(errno.EXDEV))
        copied(source, target)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize('elsewhere', [True, False])
def test_a_copy_goes_on_after_a_short_step(
    monkeypatch, tmp_path, holey, elsewhere
):
    real, pwrite = os.copy_file_range, os.pwrite
    monkeypatch.setattr(
        os,
        'copy_file_range',
        failing(errno.EXDEV)
        if elsewhere
        else (lambda s, t, count, *at: real(s, t, min(count, 1000), *at)),
    )
    monkeypatch.setattr(
        os, 'pwrite', lambda fd, data, at: pwrite(fd, data[:1000], at)
    )
    copied(holey, tmp_path / 'target')
    assert (tmp_path / 'target').read_bytes() == holey.read_bytes()


def test_extents_are_shared_where_the_file_system_can(
    monkeypatch, tmp_path, holey
):
    asked = []
    monkeypatch.setattr(
        fcntl,
        'ioctl',
        lambda target, *args: asked.append(
            (name_of(target), args[0], name_of(args[1]))
        ),
    )
    monkeypatch.setattr(os, 'copy_file_range', failing(errno.EIO))
    assert copied(holey, tmp_path / 'target') is True
    assert asked == [('target', 0x40049409, 'source')]


@pytest.mark.parametrize(
    'number', [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY]
)
def test_where_extents_cannot_be_shared_the_bytes_are_copied(
    monkeypatch, tmp_path, holey, number
):
    monkeypatch.setattr(fcntl, 'ioctl', failing(number))
    assert copied(holey, tmp_path / 'target') is False
    assert (tmp_path / 'target').read_bytes() == holey.read_bytes()


def test_a_full_disk_is_not_taken_for_one_that_cannot_share(
    monkeypatch, tmp_path, holey
):
    monkeypatch.setattr(fcntl, 'ioctl', failing(errno.ENOSPC))
    with pytest.raises(OSError, match='space'):
        copied(holey, tmp_path / 'target')


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_copy_that_fails_is_told(monkeypatch, tmp_path, holey, number):
    monkeypatch.setattr(os, 'copy_file_range', failing(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        copied(holey, tmp_path / 'target')


@pytest.mark.parametrize('elsewhere', [True, False])
def test_a_source_that_becomes_shorter_is_an_error(
    monkeypatch, tmp_path, holey, elsewhere
):
    monkeypatch.setattr(
        os,
        'copy_file_range',
        failing(errno.EXDEV) if elsewhere else lambda *args: 0,
    )
    monkeypatch.setattr(os, 'pread', lambda *args: b'')
    with pytest.raises(OSError, match='shorter'):
        copied(holey, tmp_path / 'target')


def test_the_extents_of_a_file_are_told_without_its_holes(tmp_path):
    path = tmp_path / 'f'
    for size, content, expected in (
        (0, b'', []),
        (MIB, b'', []),
        (64 * KIB, b'x' * 64 * KIB, [(0, 64 * KIB)]),
        (MIB, b'x' * 64 * KIB, [(0, 64 * KIB)]),
    ):
        path.write_bytes(content)
        os.truncate(path, size)
        with open(path, 'rb') as file:
            assert list(fsutil.data_extents(file.fileno(), size)) == expected


# Locks on directories


def test_an_exclusive_lock_keeps_others_out(directory):
    with fsutil.lock_directory(str(directory)):
        assert fsutil.lock_directory(str(directory)) is None
        assert fsutil.lock_directory(str(directory), exclusive=False) is None
        assert fsutil.lock_directory(str(directory), wait=0.05) is None
    fsutil.lock_directory(str(directory)).release()


def test_shared_locks_get_along_and_keep_an_exclusive_one_out(directory):
    first = fsutil.lock_directory(str(directory), exclusive=False)
    second = fsutil.lock_directory(str(directory), exclusive=False)
    first.release()
    assert fsutil.lock_directory(str(directory)) is None
    second.release()
    fsutil.lock_directory(str(directory)).release()


def test_releasing_a_lock_twice_does_nothing_to_other_files(directory):
    lock = fsutil.lock_directory(str(directory))
    lock.release()
    with open(directory / 'f', 'w') as file:  # gets the lock's descriptor
        lock.release()
        file.write('x')


def test_a_lock_is_given_back_whatever_happens(directory):
    with (
        pytest.raises(ZeroDivisionError),
        fsutil.lock_directory(str(directory)),
    ):
        raise ZeroDivisionError
    fsutil.lock_directory(str(directory)).release()


def test_a_lock_goes_with_its_process(directory):
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        lock = fsutil.lock_directory(str(directory))
        os.write(ready[1], b'%d' % (lock is not None))
        os.read(done[0], 1)
        os._exit(0)
    try:
        assert os.read(ready[0], 1) == b'1'
        assert fsutil.lock_directory(str(directory)) is None
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        for fd in (*ready, *done):
            os.close(fd)
    fsutil.lock_directory(str(directory)).release()


def test_what_is_not_there_cannot_be_locked(directory):
    with pytest.raises(FileNotFoundError):
        fsutil.lock_directory(f'{directory}/x')
    (directory / 'file').touch()
    with pytest.raises(NotADirectoryError):
        fsutil.lock_directory(f'{directory}/file')


@pytest.fixture
def before_flock(monkeypatch):
    """Let something happen before the n-th attempt to lock."""
    real, actions = fcntl.flock, {}

    def flock(*args):
        actions.setdefault('count', 0)
        actions['count'] += 1
        actions.pop(actions['count'], lambda: None)()
        real(*args)

    monkeypatch.setattr(fcntl, 'flock', flock)
    return actions


def test_who_waits_gets_the_lock_when_it_is_free(directory, before_flock):
    first = fsutil.lock_directory(str(directory))
    before_flock[4] = first.release
    second = fsutil.lock_directory(str(directory), wait=60)
    assert before_flock['count'] == 4
    assert fsutil.lock_directory(str(directory)) is None
    second.release()


def test_a_directory_that_goes_while_waiting_is_not_there(
    directory, before_flock
):
    first = fsutil.lock_directory(str(directory))
    before_flock[3] = directory.rmdir
    with pytest.raises(FileNotFoundError):
        fsutil.lock_directory(str(directory), wait=60)
    first.release()


def test_a_directory_that_goes_while_it_is_locked_is_not_there(
    directory, before_flock
):
    before_flock[1] = directory.rmdir
    with pytest.raises(FileNotFoundError):
        fsutil.lock_directory(str(directory))


def test_the_directory_that_has_the_name_is_the_one_that_gets_locked(
    directory, before_flock
):
    def replace():
        directory.rename(directory.with_name('old'))
        directory.mkdir()

    before_flock[1] = replace
    lock = fsutil.lock_directory(str(directory))
    assert before_flock['count'] == 2
    assert fsutil.lock_directory(str(directory)) is None
    fsutil.lock_directory(f'{directory.parent}/old').release()
    lock.release()


# Does the disk rotate?


class Sysfs:
    """A fake of the parts of /sys and /proc that the kernel shows."""

    def __init__(self, root):
        self.root, self.mounts = root / 'sys', root / 'mountinfo'
        self.mounts.write_text('')
        (self.root / 'dev' / 'block').mkdir(parents=True)

    def block(self, name, number, rotational=None, beneath=()):
        """Add a disk or a volume; *number* is ``major:minor``."""
        device = self.root / 'devices' / name
        for each in ('queue', 'slaves'):
            (device / each).mkdir(parents=True)
        if rotational is not None:
            (device / 'queue' / 'rotational').write_text(f'{rotational}\n')
        for each in beneath:
            (device / 'slaves' / each.name).symlink_to(each)
        return self._numbered(device, number)

    def partition(self, disk, name, number):
        """Add a partition: it has neither a queue nor slaves."""
        (disk / name).mkdir()
        (disk / name / 'partition').write_text('1\n')
        return self._numbered(disk / name, number)

    def mount(self, point, source):
        """Append to the mount table."""
        with self.mounts.open('a', encoding='utf-8') as table:
            table.write(
                f'30 1 0:40 /sub {point} rw shared:1 - btrfs {source} '
                f'rw,relatime\n'
            )

    def rotates(self, path):
        return fsutil.rotates(str(path), str(self.root), str(self.mounts))

    def _numbered(self, device, number):
        (self.root / 'dev' / 'block' / number).symlink_to(device)
        return device


@pytest.fixture
def sysfs(tmp_path):
    return Sysfs(tmp_path)


@pytest.fixture
def lies_on(monkeypatch):
    """Let a path lie on a device, or be the node of one."""
    real, answers = os.stat, {}

    def lies_on(path, major, minor, kind=stat.S_IFBLK):
        answers[str(path)] = types.SimpleNamespace(
            st_dev=os.makedev(major, minor),
            st_rdev=os.makedev(major, minor),
            st_mode=kind,
        )

    def fake(path, *args, **kwargs):
        known = isinstance(path, str) and answers.get(path)
        return known or real(path, *args, **kwargs)

    monkeypatch.setattr(os, 'stat', fake)
    return lies_on


@pytest.mark.parametrize(
    ('flag', 'answer'), [(0, False), (1, True), (None, None)]
)
def test_a_disk_tells_whether_it_rotates(sysfs, lies_on, flag, answer):
    sysfs.block('sda', '8:0', flag)
    lies_on('/srv', 8, 0)
    assert sysfs.rotates('/srv') is answer


def test_a_device_that_sysfs_does_not_show_is_unknown(sysfs, lies_on):
    lies_on('/srv', 8, 0)
    assert sysfs.rotates('/srv') is None


@pytest.mark.parametrize('flag', [0, 1])
def test_a_partition_is_as_its_disk(sysfs, lies_on, flag):
    disk = sysfs.block('nvme0n1', '259:0', flag)
    sysfs.partition(disk, 'nvme0n1p2', '259:2')
    lies_on('/srv', 259, 2)
    assert sysfs.rotates('/srv') is bool(flag)


@pytest.mark.parametrize(
    ('flags', 'answer'),
    [
        ((0, 0), False),
        ((0, 1), True),
        ((1, 1), True),
        ((None, 1), True),
        ((None, 0), False),
        ((None, None), None),
    ],
)
def test_a_volume_on_raid_rotates_if_one_of_its_disks_does(
    sysfs, lies_on, flags, answer
):
    disks = [
        sysfs.block(f'sd{x}', f'8:{16 * n}', flag)
        for n, (x, flag) in enumerate(zip('ab', flags, strict=True))
    ]
    # One disk whole, of the other one a partition.
    raid = sysfs.block(
        'md0', '9:0', 0, [disks[0], sysfs.partition(disks[1], 'sdb1', '8:17')]
    )
    crypt = sysfs.block('dm-0', '253:0', 0, [raid])
    sysfs.block('dm-1', '253:1', 0, [crypt])
    lies_on('/srv', 253, 1)
    assert sysfs.rotates('/srv') is answer


def test_a_partition_of_a_raid_is_as_the_disks_beneath(sysfs, lies_on):
    raid = sysfs.block('md0', '9:0', 0, [sysfs.block('sda', '8:0', 1)])
    sysfs.partition(raid, 'md0p1', '259:0')
    lies_on('/srv', 259, 0)
    assert sysfs.rotates('/srv') is True


def test_a_file_system_without_a_disk_is_unknown(sysfs, lies_on):
    lies_on('/srv', 0, 40)
    sysfs.mount('/', '/dev/gone')
    sysfs.mount('/srv', 'tmpfs')
    assert sysfs.rotates('/srv') is None


@pytest.fixture
def two_disks(sysfs, lies_on):
    """An SSD and a rotating disk, as /dev/ssd and /dev/hdd."""
    for number, name in enumerate(('ssd', 'hdd')):
        sysfs.block(name, f'8:{number}', number)
        lies_on(f'/dev/{name}', 8, number)
    return sysfs


@pytest.mark.parametrize(
    ('mounts', 'answer'),
    [
        ([('/', '/dev/ssd')], False),
        ([('/', '/dev/ssd'), ('/srv', '/dev/hdd')], True),
        ([('/srv', '/dev/hdd'), ('/', '/dev/ssd')], True),
        ([('/', '/dev/ssd'), ('/srv/tmpl/deeper', '/dev/hdd')], False),
        ([('/', '/dev/ssd'), ('/sr', '/dev/hdd')], False),
        ([('/', '/dev/ssd'), ('/srv/tmp', '/dev/hdd')], False),
        ([('/srv', '/dev/ssd'), ('/srv/tmpl', '/dev/hdd')], True),
        # The later one hides the one beneath.
        ([('/srv', '/dev/hdd'), ('/srv', '/dev/ssd')], False),
    ],
)
def test_btrfs_is_as_the_device_that_its_mount_names(
    two_disks, lies_on, mounts, answer
):
    lies_on('/srv/tmpl', 0, 40)
    for point, source in mounts:
        two_disks.mount(point, source)
    assert two_disks.rotates('/srv/tmpl') is answer


@pytest.mark.parametrize('name', ['a b', 'a\\b', 'Bär', '磁盘'])
def test_the_mount_point_may_have_any_name(two_disks, lies_on, tmp_path, name):
    path = tmp_path / name
    path.mkdir()
    lies_on(path, 0, 40)
    two_disks.mount('/', '/dev/ssd')
    # The kernel shows blanks and backslashes in octal, all else as it is.
    two_disks.mount(
        str(path).replace('\\', r'\134').replace(' ', r'\040'), '/dev/hdd'
    )
    assert two_disks.rotates(path) is True


def test_btrfs_is_found_through_a_symlink(two_disks, lies_on, tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    lies_on(tmp_path / 'link', 0, 40)
    two_disks.mount('/', '/dev/ssd')
    two_disks.mount(tmp_path / 'real', '/dev/hdd')
    assert two_disks.rotates(tmp_path / 'link') is True


def test_a_mount_of_what_is_no_block_device_is_unknown(two_disks, lies_on):
    lies_on('/dev/char', 8, 1, stat.S_IFCHR)
    lies_on('/srv', 0, 40)
    two_disks.mount('/srv', '/dev/char')
    assert two_disks.rotates('/srv') is None


def test_the_real_kernel_is_asked_by_default(tmp_path):
    assert fsutil.rotates(str(tmp_path)) in (True, False, None)
    with pytest.raises(FileNotFoundError):
        fsutil.rotates(str(tmp_path / 'x'))
