# SPDX-License-Identifier: Apache-2.0
"""Durable files, sparse copies, and what the kernel knows of a disk."""

import contextlib
import errno
import fcntl
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

from tmpl_glance_store import exceptions

#: Zero runs of this many bytes, so aligned, become holes.
HOLE = 64 << 10
_ZEROS = bytes(HOLE)

#: What the names of files begin with that are about to get another one.
TEMP = '.tmpl-'

_FICLONE = 0x40049409  # linux/fs.h: share the extents of another file
_COPY_STEP = 16 << 20

NO_SPACE_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
DENIED_ERRNOS = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))


@contextlib.contextmanager
def os_errors() -> Iterator[None]:
    """Translate an OSError into an error that tells what to do.

    :raises NoSpace: for a full disk, an exceeded quota or file size limit
    :raises WriteDenied: for a forbidden or read-only directory
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in NO_SPACE_ERRNOS:
            raise exceptions.NoSpace(str(exc)) from exc
        if exc.errno in DENIED_ERRNOS:
            raise exceptions.WriteDenied(str(exc)) from exc
        raise


def fsync_directory(path: str) -> None:
    """Put the entries of the directory *path* on stable storage."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: str) -> None:
    """Make a directory that everybody may read, whatever the umask.

    Who may not is kept out by the location's directory above it.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            os.chmod(path, 0o755)  # noqa: S103
            inherit_owner(path)


def inherit_owner(path: str) -> None:
    """Give a new directory to the owner of the one above it, if allowed.

    An agent with CAP_CHOWN shares a location with a Glance that has another
    user, and no capabilities.
    """
    with contextlib.suppress(PermissionError):
        os.chown(path, os.stat(os.path.dirname(path)).st_uid, -1)


def require_private(path: str) -> None:
    """Make sure that a secret is one: not open to all, nor to be replaced.

    A group may read it, as that of a service does.

    :raises OSError: if there is no such file
    :raises ValueError: if others can read or write it; says how to mend that
    """
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o027:
        raise ValueError(
            f'{path} has the mode {mode:04o}: others than its owner and its '
            f'readers can use it; run "chmod g-w,o= {path}"'
        )


def write_durably(path: str, data: bytes, mode: int = 0o444) -> None:
    """Make *path* hold *data*, all or nothing, also across a power loss.

    Temp in the same directory, fsync, rename, fsync of the directory.
    """
    with _temp(path, data, mode) as temp:
        os.rename(temp, path)
    fsync_directory(os.path.dirname(path))


def create_durably(path: str, data: bytes, mode: int = 0o444) -> bool:
    """Like :func:`write_durably`, but never replace; tell whether created."""
    try:
        with _temp(path, data, mode) as temp:
            os.link(temp, path)
    except FileExistsError:
        return False
    fsync_directory(os.path.dirname(path))
    return True


@contextlib.contextmanager
def _temp(path: str, data: bytes, mode: int) -> Iterator[str]:
    """Give a file beside *path* with *data*, on stable storage."""
    fd, temp = tempfile.mkstemp(prefix=TEMP, dir=os.path.dirname(path))
    try:
        with os.fdopen(fd, 'wb') as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        yield temp
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temp)


class SparseWriter:
    """Writes a stream into a new file; long zero runs become holes.

    A thread that hangs in a write must not find its descriptor reused: then
    :meth:`close` does nothing, and the file is closed with the last reference.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._offset = 0
        self._writing = threading.Lock()

    def __del__(self) -> None:
        self._close()

    def write(self, data: bytes) -> None:
        """Write the next bytes of the stream.

        :raises OSError: as the kernel says
        """
        with self._writing:
            self._append(data)

    def close(self) -> None:
        """Give the file up, unless a write is under way."""
        if self._writing.acquire(blocking=False):
            self._close()
            self._writing.release()

    def _append(self, data: bytes) -> None:
        view, start, at = memoryview(data), 0, 0
        while at < len(data):
            # A hole must be aligned in the file to save any space.
            step = min(HOLE - (self._offset + at) % HOLE, len(data) - at)
            if step == HOLE and data.startswith(_ZEROS, at):
                self._write(view[start:at], start)
                start = at + step
            at += step
        self._write(view[start:], start)
        self._begin_writeback(len(data))
        self._offset += len(data)

    def head(self, length: int) -> bytes:
        """Return the first *length* bytes of what was written."""
        return os.pread(self._fd, min(length, self._offset), 0)

    def finish(self, mode: int) -> None:
        """Set the length and the mode, and put all on stable storage."""
        os.ftruncate(self._fd, self._offset)
        os.fchmod(self._fd, mode)
        os.fsync(self._fd)
        self._close()

    def _write(self, view: memoryview, shift: int) -> None:
        offset = self._offset + shift
        while view:
            written = os.pwrite(self._fd, view, offset)
            view, offset = view[written:], offset + written

    def _begin_writeback(self, length: int) -> None:
        # DONTNEED starts writing dirty pages out without waiting for them,
        # so that the final fsync finds little left to do.
        os.posix_fadvise(
            self._fd, self._offset, length, os.POSIX_FADV_DONTNEED
        )

    def _close(self) -> None:
        fd, self._fd = getattr(self, '_fd', -1), -1
        if fd >= 0:
            os.close(fd)


class DirectoryLock:
    """An advisory lock on a directory, which goes with the process.

    The kernel drops it when the process dies, however it dies: that is how
    what a crash left behind is told from what somebody is working on.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let the next one in; more calls do nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def lock_directory(
    path: str, *, exclusive: bool = True, wait: float = 0
) -> DirectoryLock | None:
    """Lock the directory *path*; None if it stays locked for *wait* seconds.

    :raises FileNotFoundError: if there is no such directory, also when it
        goes while waiting
    """
    flag = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    deadline = time.monotonic() + wait
    while True:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, flag | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return DirectoryLock(fd)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(fd)
                return None
            time.sleep(0.01)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def copy_file(
    source: int,
    target: int,
    check: Callable[[], None] = lambda: None,
    *,
    share: bool = True,
) -> bool:
    """Copy all bytes of one file into an empty one, holes kept.

    Shares the extents where the file system can (``FICLONE``), else copies
    within the kernel.

    :param source: descriptor open for reading
    :param target: descriptor open for writing
    :param check: called for every few MiB; what it raises ends it
    :param share: False for a copy with bytes of its own
    :returns: whether the extents are shared, so that no byte was copied
    """
    if share:
        try:
            share_extents(source, target)
            return True
        except OSError as exc:
            if exc.errno in NO_SPACE_ERRNOS:
                raise
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    for start, end in data_extents(source, size):
        _copy_range(source, target, start, end, check)
    return False


def share_extents(source: int, target: int) -> None:
    """Let one file have the bytes of another without a copy (``FICLONE``).

    :raises OSError: if the file system cannot, or has no room
    """
    fcntl.ioctl(target, _FICLONE, source)


def data_extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the parts of a file that are not holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end


def _copy_range(
    source: int, target: int, start: int, end: int, check: Callable[[], None]
) -> None:
    while start < end:
        check()
        step = min(_COPY_STEP, end - start)
        try:
            done = os.copy_file_range(source, target, step, start, start)
        except OSError as exc:
            if exc.errno not in (
                errno.EXDEV,
                errno.EINVAL,
                errno.ENOSYS,
                errno.EOPNOTSUPP,
            ):
                raise
            done = os.pwrite(target, os.pread(source, step, start), start)
        if not done:
            raise OSError(errno.EIO, 'the source file became shorter')
        start += done


def free_bytes(path: str) -> tuple[int, int]:
    """Return (bytes free for an unprivileged user, size in bytes)."""
    stats = os.statvfs(path)
    return stats.f_bavail * stats.f_frsize, stats.f_blocks * stats.f_frsize


def free_files(path: str) -> int | None:
    """Return how many files can be made; None if there is no such limit."""
    stats = os.statvfs(path)
    return stats.f_favail if stats.f_files else None


def remove_leftovers(directory: str, prefix: str) -> None:
    """Remove the files of a directory whose names begin with *prefix*.

    What is not there, or not any more, is no error.
    """
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            if name.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, name))


def mount_point(path: str) -> str:
    """Return the directory at which the file system of *path* begins.

    Of what is not there yet, that of the directory which it would be in.
    """
    path = os.path.realpath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    while path != '/' and os.stat(os.path.dirname(path)).st_dev == device:
        path = os.path.dirname(path)
    return path


def rotates(
    path: str, sysfs: str = '/sys', mountinfo: str = '/proc/self/mountinfo'
) -> bool | None:
    """Tell whether the disk beneath *path* is a rotating one.

    Follows partitions, device mapper and md down to the disks; one rotating
    disk makes a rotating volume. None if the kernel does not know (tmpfs,
    overlay, a network file system).

    Source: ``queue/rotational`` in Documentation/ABI/stable/sysfs-block.
    """
    device = os.stat(path).st_dev
    if os.major(device) == 0:
        # btrfs and others show an anonymous device: ask the mount table.
        device = _mounted_device(path, mountinfo)
    if not device:
        return None
    return _device_rotates(
        f'{sysfs}/dev/block/{os.major(device)}:{os.minor(device)}'
    )


def _mounted_device(path: str, mountinfo: str) -> int:
    """Return the block device that the mount above *path* names, or 0."""
    path, best = os.path.realpath(path), ('', '')
    with open(mountinfo, encoding='utf-8', errors='surrogateescape') as table:
        for line in table:
            left, _, right = line.partition(' - ')
            # The kernel writes blanks and the like as octal numbers.
            point = re.sub(
                r'\\([0-7]{3})',
                lambda match: chr(int(match[1], 8)),
                left.split(' ')[4],
            )
            if os.path.commonpath((path, point)) == point and len(
                point
            ) >= len(best[0]):
                best = point, right.split()[1]
    with contextlib.suppress(OSError):
        status = os.stat(best[1])
        if stat.S_ISBLK(status.st_mode):
            return status.st_rdev
    return 0


def _device_rotates(device: str) -> bool | None:
    device = os.path.realpath(device)
    if os.path.exists(f'{device}/partition'):
        device = os.path.dirname(device)
    slaves = f'{device}/slaves'
    below = os.listdir(slaves) if os.path.isdir(slaves) else []
    if below:
        answers = [_device_rotates(f'{slaves}/{name}') for name in below]
        known = [answer for answer in answers if answer is not None]
        return any(known) if known else None
    try:
        with open(f'{device}/queue/rotational', encoding='ascii') as flag:
            return flag.read().strip() == '1'
    except OSError:
        return None
