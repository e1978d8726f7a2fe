# SPDX-License-Identifier: Apache-2.0
"""A template on its way into a location: staged, sealed, moved, placed."""

import contextlib
import errno
import logging
import os
import uuid
from collections.abc import Callable

from tmpl_glance_store import digests
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store import objects

LOG = logging.getLogger(__name__)

_CHECK_ROOM = 64 << 20  # bytes written between two looks at the free space
_MODE = 0o444  # the location's directory keeps others out


class Staged:
    """A template below ``incoming/``, locked until it is placed or dropped.

    :param where: the paths of its location
    :param directory: its own, new directory
    :param lock: of that directory
    :param require_room: raises NoSpace when the location runs full
    :param lasting: whether it stays if it is not placed, to be resumed
    """

    def __init__(
        self,
        where: layout.Paths,
        directory: str,
        lock: fsutil.DirectoryLock,
        require_room: Callable[[], None],
        lasting: bool,
    ) -> None:
        self.paths = where
        self.directory = directory
        self.lock = lock
        self._require_room = require_room
        self._writer: fsutil.SparseWriter | None = None
        self._until_check = 0
        self._lasting = lasting
        self._visible = False

    @classmethod
    def create(
        cls, where: layout.Paths, require_room: Callable[[], None]
    ) -> 'Staged':
        """Make a new directory below ``incoming/``, and lock it.

        :raises NoSpace: if the location is full
        :raises WriteDenied: if it is read-only or forbidden
        """
        require_room()
        while True:
            directory = os.path.join(where.incoming, uuid.uuid4().hex)
            with fsutil.os_errors():
                os.mkdir(directory)
            # Until it is locked, another process may take it for debris.
            with contextlib.suppress(FileNotFoundError):
                lock = fsutil.lock_directory(directory)
                if lock is not None:
                    os.chmod(directory, 0o755)  # noqa: S103
                    fsutil.inherit_owner(directory)
                    return cls(where, directory, lock, require_room, False)

    @classmethod
    def resume(
        cls, where: layout.Paths, digest: str, require_room: Callable[[], None]
    ) -> 'Staged':
        """Go on with the fetch of a template, or begin it.

        :raises Unavailable: if another process is at it
        """
        directory = where.fetch(digest)
        with fsutil.os_errors():
            fsutil.make_directory(directory)
        lock = fsutil.lock_directory(directory)
        if lock is None:
            raise exceptions.Unavailable(f'{directory} is locked')
        return cls(where, directory, lock, require_room, True)

    def __enter__(self) -> 'Staged':
        return self

    def __exit__(self, *_: object) -> None:
        if not (self._visible or self._lasting):
            if self._writer is not None:
                self._writer.close()
            erase(self.directory)
        self.lock.release()

    @property
    def placed(self) -> bool:
        """Whether :meth:`place` has made it visible."""
        return self._visible

    def write(self, data: bytes) -> None:
        """Write the next bytes of the image.

        :raises NoSpace: if the location runs full
        """
        with fsutil.os_errors():
            if self._writer is None:
                self._writer = fsutil.SparseWriter(self._files.image)
            self._writer.write(data)
        self._until_check -= len(data)
        if self._until_check <= 0:
            self._require_room()
            self._until_check = _CHECK_ROOM

    def head(self, length: int) -> bytes:
        """Return the first *length* bytes of what was written."""
        return self._writer.head(length) if self._writer else b''

    def seal(self, template: objects.Template, pieces: bytes) -> None:
        """Put the image and its description on stable storage.

        :param pieces: the piece layer
        """
        with fsutil.os_errors():
            if self._writer is None:  # an empty image
                self._writer = fsutil.SparseWriter(self._files.image)
            self._writer.finish(_MODE)
            self._writer = None
            self._describe(template.to_json(), pieces)

    def seal_fetched(self, template: objects.Template, pieces: bytes) -> None:
        """Put a fetched and proven image on stable storage, described."""
        with fsutil.os_errors():
            fd = os.open(self._files.image, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.fchmod(fd, _MODE)
                os.fsync(fd)
            finally:
                os.close(fd)
            self._describe(template.to_json(), pieces)

    def copy_from(self, directory: str, digest: str) -> None:
        """Take a copy of the whole template in *directory*, and prove it.

        Shares the bytes if both are on one file system that can do so.
        """
        with fsutil.os_errors():
            theirs = layout.CopyPaths(directory)
            source = os.open(theirs.image, os.O_RDONLY)
            copy = os.open(
                self._files.image,
                os.O_RDWR | os.O_CREAT | os.O_EXCL,
                0o600,
            )
            try:
                shared = fsutil.copy_file(source, copy)
                os.fchmod(copy, _MODE)
                os.fsync(copy)
                if not shared and digests.digest_of(copy) != digest:
                    raise exceptions.CorruptCopy(
                        f'{self.directory}: not the bytes of '
                        f'{directory}; check both disks'
                    )
            finally:
                os.close(source)
                os.close(copy)
            self._describe(
                _content(theirs.template),
                _content(theirs.pieces),
            )

    def move_by_rename(self, where: layout.Paths) -> bool:
        """Move to another location on the same file system, if it is that."""
        directory = os.path.join(
            where.incoming, os.path.basename(self.directory)
        )
        try:
            os.rename(self.directory, directory)
        except OSError:
            return False
        self.paths, self.directory = where, directory
        return True

    def place(self, digest: str) -> bool:
        """Make the copy visible, by one rename; False if there is one."""
        target = self.paths.copy(digest)
        with fsutil.os_errors():
            while True:
                fsutil.make_directory(self.paths.shelf(digest))
                fsutil.fsync_directory(self.paths.templates)
                try:
                    os.rename(self.directory, target)
                    break
                except OSError as exc:
                    if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
                        return False
                    if os.path.isdir(self.paths.shelf(digest)):
                        raise
                    # The shelf was empty, and removed meanwhile: again.
            self._visible = True
            fsutil.fsync_directory(self.paths.shelf(digest))
        return True

    @property
    def _files(self) -> layout.CopyPaths:
        return layout.CopyPaths(self.directory)

    def _describe(self, template: bytes, pieces: bytes) -> None:
        fsutil.write_durably(self._files.pieces, pieces, _MODE)
        fsutil.write_durably(self._files.template, template, _MODE)


def _content(path: str) -> bytes:
    with open(path, 'rb') as file:
        return file.read()


def erase(directory: str) -> None:
    """Remove a directory of ours with its files, as far as that goes.

    What cannot be removed goes at a later start; nobody sees it meanwhile.
    """
    try:
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)
    except FileNotFoundError:
        pass
    except OSError as exc:
        LOG.warning('Cannot remove %s: %s', directory, exc)


def remove_if_empty(directory: str) -> None:
    """Remove a directory unless there is something in it."""
    with contextlib.suppress(OSError):
        os.rmdir(directory)
