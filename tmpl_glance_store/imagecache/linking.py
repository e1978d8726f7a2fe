# SPDX-License-Identifier: Apache-2.0
"""The ways in which a copy becomes a base file: links, or a copy of it.

Each makes a file with a name of its own in Nova's directory; giving it Nova's
name is one ``link(2)`` or ``rename(2)`` more, so that the base file is whole
when it appears, and one that is there already is never replaced.
"""

import contextlib
import errno
import fcntl
import logging
import os
import struct
import uuid
from collections.abc import Callable, Iterator

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store.imagecache import entries
from tmpl_glance_store.imagecache import ownership

LOG = logging.getLogger(__name__)

REFLINK, HARDLINK, SYMLINK, COPY = 'reflink', 'hardlink', 'symlink', 'copy'
#: These share the copy's mode, with which nobody may write.
LINKS = HARDLINK, SYMLINK
_TEMP = '.tmpl-'
_AUTO = REFLINK, HARDLINK, SYMLINK

_GETFLAGS = 0x80086601  # linux/fs.h: FS_IOC_GETFLAGS
_FIXED = 0x10 | 0x20  # FS_IMMUTABLE_FL, FS_APPEND_FL

# What says that another way may do: not one file system, no reflinks, or
# not our file (fs.protected_hardlinks).
_OTHER_WAY = (
    errno.EXDEV,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EPERM,
    errno.EMLINK,
)


class Linker:
    """Makes base files in Nova's directory.

    :param directory: Nova's directory of base files
    :param publish: one of ``nova_opts.PUBLISH_MODES``, but ``off``
    :param mode: of reflinks and copies
    :param links: whether a base file may be a link; else ``auto`` copies,
        which is a reflink where the file system can
    """

    def __init__(
        self,
        directory: str,
        publish: str,
        mode: int,
        owner: ownership.Ownership,
        *,
        links: bool = True,
    ) -> None:
        self._directory = directory
        self._shares = publish != COPY
        if publish == 'auto':
            self._modes = _AUTO if links else (COPY,)
        else:
            self._modes = (publish,)
        self._mode = mode
        self._owner = owner
        self._said: set[tuple[str, str]] = set()

    @property
    def copies(self) -> bool:
        """Whether base files may be made by copying all bytes, which lasts."""
        return self._modes == (COPY,)

    def make(self, source: str, hold: Callable[[], str]) -> tuple[str, str]:
        """Return (way, path of a new link or reflink) for the file *source*.

        In the mode ``copy``, *source* is what :meth:`copy` has made.

        :param hold: returns another name of *source* that stays as long as
            a symbolic link needs it
        :raises WriteDenied: if no way works; says why
        """
        reasons: list[str] = []
        for way in self._modes:
            temp = self._temp()
            try:
                if way == SYMLINK:
                    os.symlink(hold(), temp)
                elif way == REFLINK:
                    self._reflink(source, temp)
                else:  # of the copy itself, or of one made by copy()
                    os.link(source, temp)
                if way != COPY:
                    self._say(way, reasons)
                return way, temp
            except OSError as exc:
                remove(temp)
                if exc.errno not in _OTHER_WAY:
                    raise
                reasons.append(f'no {way}: {os.strerror(exc.errno or 0)}')
                if way != REFLINK and exc.errno == errno.EPERM:
                    reasons[-1] += (
                        ' (fs.protected_hardlinks: give the agent CAP_FOWNER)'
                    )
        raise exceptions.WriteDenied(
            f'{source} cannot be published in {self._directory}: '
            f'{"; ".join(reasons)}'
        )

    def _say(self, way: str, reasons: list[str]) -> None:
        if (way, str(reasons)) not in self._said:
            self._said.add((way, str(reasons)))
            LOG.info(
                'Base files in %s are made by %s%s',
                self._directory,
                way,
                f' ({"; ".join(reasons)})' if reasons else '',
            )

    def _reflink(self, source: str, temp: str) -> None:
        with self._new(source, temp) as (origin, target):
            fsutil.share_extents(origin, target)

    def copy(self, source: str, check: Callable[[], None]) -> tuple[str, str]:
        """Return (way, path) of a new, whole copy of *source*, fsynced.

        In the mode ``auto`` it shares the bytes if the file system can.

        :param check: called for every few MiB; what it raises ends it
        """
        temp = self._temp()
        try:
            with self._new(source, temp) as (origin, target):
                shared = fsutil.copy_file(
                    origin, target, check, share=self._shares
                )
        except BaseException:
            remove(temp)
            raise
        way = REFLINK if shared else COPY
        self._say(way, [])
        return way, temp

    @contextlib.contextmanager
    def _new(self, source: str, temp: str) -> Iterator[tuple[int, int]]:
        """Give the descriptors of *source* and of a new file, Nova's own."""
        origin = os.open(source, os.O_RDONLY)
        try:
            target = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                yield origin, target
                entries.set_mark(target)
                os.fchmod(target, self._mode)
                # Anybody may own a base file; Nova's user is the natural one.
                with contextlib.suppress(PermissionError):
                    self._owner.give(target)
                os.fsync(target)
            finally:
                os.close(target)
        finally:
            os.close(origin)

    def place(self, temp: str, path: str) -> bool:
        """Give *temp* the name *path*; False if there is a file already."""
        try:
            if os.path.islink(temp):
                os.symlink(os.readlink(temp), path)
            else:
                os.link(temp, path)
        except FileExistsError:
            return False
        finally:
            remove(temp)
        fsutil.fsync_directory(self._directory)
        return True

    def replace_link(self, temp: str, path: str) -> None:
        """Let *path*, a symbolic link of ours, lead where *temp* does."""
        os.rename(temp, path)
        fsutil.fsync_directory(self._directory)

    def clean(self) -> None:
        """Remove what a crash has left behind."""
        fsutil.remove_leftovers(self._directory, _TEMP)

    def _temp(self) -> str:
        return os.path.join(self._directory, f'{_TEMP}{uuid.uuid4().hex}')


def remove(path: str) -> None:
    """Remove a file of ours, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def fixed(path: str) -> bool:
    """Tell whether a file may not be changed, not even its times."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        flags = fcntl.ioctl(fd, _GETFLAGS, bytes(8))
        return bool(struct.unpack('I', flags[:4])[0] & _FIXED)
    except OSError:  # a file system without such flags
        return False
    finally:
        os.close(fd)
