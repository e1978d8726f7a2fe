# SPDX-License-Identifier: Apache-2.0
"""One location of this host: its disk, its room, and what lies in it."""

import contextlib
import dataclasses
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator

from tmpl_glance_store import digests
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import history
from tmpl_glance_store.localstore import copy as copy_files
from tmpl_glance_store.localstore import marker as marker_file
from tmpl_glance_store.localstore import memory
from tmpl_glance_store.localstore import staging

LOG = logging.getLogger(__name__)

_FILES = 16  # a copy takes five, and its directories
_NEAR = 0.02  # of the size of a disk: free space that is as good as the same
_PROBE_AGE = 60  # seconds; a probe lives for an instant


class LocalLocation:
    """A directory on a disk of this host, opened by ``attaching``.

    :param record: what the catalog knows of it
    :param reserve: free space to leave untouched, in percent
    """

    def __init__(self, record: objects.Location, reserve: float) -> None:
        self.record = record
        self.paths = layout.Paths(record.path)
        self._reserve = reserve
        self._memory = memory.Memory(self.paths)

    @property
    def memory(self) -> history.Seen | None:
        """What this disk remembers of the catalog, None if nothing."""
        return self._memory.seen

    def remember(self, seen: history.Seen) -> None:
        """Let this disk remember what was seen, if it is there."""
        if self.is_well():
            self._memory.keep(seen)

    def check(self) -> None:
        """Make sure that the disk is still there.

        :raises LocationRefused: if the marker file is not what it was: with
            the disk unmounted, a write would land on the disk beneath
        """
        try:
            marker = marker_file.read(self.paths)
        except (OSError, ValueError) as exc:
            raise exceptions.LocationRefused(
                f'location {self.paths.root}: {exc}'
            ) from exc
        if marker is None or marker.location_id != self.record.id:
            raise exceptions.LocationRefused(
                f'location {self.paths.root}: its marker file '
                f'{self.paths.marker} is gone; is the disk mounted?'
            )

    def is_well(self) -> bool:
        """Tell whether the disk is still there."""
        try:
            self.check()
        except exceptions.LocationRefused:
            return False
        return True

    def describe(
        self, known: objects.Location | None = None
    ) -> objects.Location:
        """Return the record of this location as it is now.

        :param known: what the catalog has: its state is the operator's, and
            its free space stays while it is near enough, since each byte that
            is written would be a write of the catalog otherwise
        """
        record = self.record
        if known is not None:
            record = dataclasses.replace(record, state=known.state)
        try:
            self.check()
            free, size = fsutil.free_bytes(self.paths.root)
        except (exceptions.LocationRefused, OSError) as exc:
            return dataclasses.replace(
                record, health=objects.MISSING, reason=_line(exc)
            )
        if known is not None and abs(free - known.free) < size * _NEAR:
            free = known.free
        health, reason = self._health()
        return dataclasses.replace(
            record, size=size, free=free, health=health, reason=reason
        )

    def _health(self) -> tuple[str, str]:
        """Return (one of ``objects.HEALTH``, why) of a disk that is there."""
        if not self.is_writable():
            return objects.READ_ONLY, 'it cannot be written'
        if not self.has_room(0):
            return objects.FULL, 'it is under tmpl_store_reserve'
        return objects.WELL, ''

    def problem(self) -> str | None:
        """Return why nothing can be written here now, if so: but for room."""
        try:
            self.check()
            self.probe()
        except exceptions.NoSpace:
            return None
        except (exceptions.TmplError, OSError) as exc:
            return str(exc)
        return None

    def probe(self) -> None:
        """Make sure that files can be made and removed here.

        :raises WriteDenied: if the directory is read-only or forbidden
        :raises NoSpace: if not even an empty file has room
        """
        path = os.path.join(self.paths.incoming, f'.probe-{uuid.uuid4().hex}')
        with fsutil.os_errors():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            os.unlink(path)

    def is_writable(self) -> bool:
        """Tell whether the file system, and its rights, let us write."""
        return os.access(
            self.paths.incoming, os.W_OK | os.X_OK, effective_ids=True
        )

    def has_room(self, size: int) -> bool:
        """Tell whether *size* more bytes leave the reserve untouched.

        A file system without inodes has no room either.
        """
        try:
            free, total = fsutil.free_bytes(self.paths.root)
            files = fsutil.free_files(self.paths.root)
        except OSError:
            return False
        if files is not None and files < _FILES:
            return False
        return free - size >= total * self._reserve / 100

    def free(self) -> int:
        """Return the bytes free, 0 if the disk does not answer."""
        try:
            return fsutil.free_bytes(self.paths.root)[0]
        except OSError:
            return 0

    def require_room(self) -> None:
        """Raise NoSpace if the free space is under the reserve."""
        if not self.has_room(0):
            raise exceptions.NoSpace(
                f'location {self.paths.root} has less than '
                f'{self._reserve:g} % free (tmpl_store_reserve), or no inodes'
            )

    def resume(self, digest: str) -> staging.Staged:
        """Go on with the fetch of a template, or begin it.

        :raises Unavailable: if another process is at it
        """
        return staging.Staged.resume(self.paths, digest, self.require_room)

    def abandon_fetch(self, digest: str) -> None:
        """Remove what a fetch has left, unless somebody is at it."""
        lock = _try_lock(self.paths.fetch(digest))
        if lock is not None:
            with lock:
                staging.erase(self.paths.fetch(digest))

    def held(self) -> set[str]:
        """Return the digests of the copies here."""
        return {os.path.basename(path) for path in self.paths.entries()}

    def size(self, digest: str) -> int:
        """Return the size of a copy's image in bytes."""
        return os.stat(self.paths.image(digest)).st_size

    def last_used(self, digest: str) -> float:
        """Return when a copy was last read, in seconds since the epoch.

        As exact as the mount's ``relatime``: to a day.
        """
        try:
            return os.stat(self.paths.image(digest)).st_atime
        except OSError:
            return 0.0

    def pieces(self, digest: str) -> bytes:
        """Return the piece layer of a copy."""
        where = layout.CopyPaths(self.paths.copy(digest))
        with open(where.pieces, 'rb') as file:
            return file.read()

    def condemn(self, digest: str) -> str | None:
        """Move a copy to quarantine; return where to, None if it is gone."""
        lock = self._lock(self.paths.copy(digest), exclusive=True, wait=60)
        if lock is None:
            return None
        with lock:
            return self._quarantine(self.paths.copy(digest))

    def shares_disk(self, path: str) -> bool:
        """Tell whether *path* is on the same file system."""
        return os.stat(path).st_dev == os.stat(self.paths.root).st_dev

    def stage(self) -> staging.Staged:
        """Begin to write a template here."""
        return staging.Staged.create(self.paths, self.require_room)

    @contextlib.contextmanager
    def take(
        self, staged: staging.Staged, digest: str
    ) -> Iterator[staging.Staged]:
        """Give *staged*, sealed somewhere on this host, as it is here.

        :raises NoSpace, WriteDenied, CorruptCopy: if it must be copied, and
            cannot
        """
        if staged.paths.root == self.paths.root or staged.move_by_rename(
            self.paths
        ):
            yield staged
            return
        with self.stage() as moved:
            moved.copy_from(staged.directory, digest)
            yield moved

    def holds(self, digest: str) -> bool:
        """Tell whether there is a copy of a template here."""
        return os.path.isfile(self.paths.image(digest))

    def prove(
        self, digest: str, on_read: Callable[[int], None] = lambda length: None
    ) -> None:
        """Read the whole image of a copy, and compare it with its digest.

        Takes no lock: a copy never changes, and one that is removed
        meanwhile is read to its end.

        :param on_read: told the bytes of each read; what it raises ends it
        :raises CorruptCopy: if its bytes are not those of its digest
        :raises OSError: if it is not there, or cannot be read
        """
        path = self.paths.image(digest)
        with open(path, 'rb', buffering=0) as file:
            if digests.digest_of(file.fileno(), on_read) != digest:
                raise exceptions.CorruptCopy(
                    f'{path}: its bytes are not those of its digest'
                )

    def hold(self, digest: str, wait: float) -> fsutil.DirectoryLock | None:
        """Keep others from removing a copy; None if there is none.

        :param wait: seconds to wait for one who works on it
        :raises CorruptCopy: if it was not whole; it is in quarantine then
        :raises Unavailable: if it stays locked for longer
        """
        path = self.paths.copy(digest)
        lock = self._lock(path, exclusive=False, wait=wait)
        if lock is None:
            return None
        try:
            copy_files.read(path)
            # Who placed it may have died before this.
            fsutil.fsync_directory(self.paths.shelf(digest))
            return lock
        except exceptions.CorruptCopy:
            lock.release()
        except OSError as exc:
            lock.release()
            raise exceptions.Unavailable(f'{path}: {exc}') from exc
        except BaseException:
            lock.release()
            raise
        exclusive = self._lock(path, exclusive=True, wait=wait)
        if exclusive is not None:
            with exclusive:
                self.require_whole(path)
        return None

    def require_whole(self, path: str) -> objects.Template:
        """Return the template in the directory *path*.

        The caller holds its lock.

        :raises CorruptCopy: if it is not whole; it is in quarantine then
        """
        try:
            return copy_files.read(path)
        except exceptions.CorruptCopy as exc:
            LOG.error('Quarantined as %s: %s', self._quarantine(path), exc)
            raise

    @staticmethod
    def _lock(
        path: str, *, exclusive: bool, wait: float
    ) -> fsutil.DirectoryLock | None:
        try:
            lock = fsutil.lock_directory(path, exclusive=exclusive, wait=wait)
        except FileNotFoundError:
            return None
        if lock is None:
            raise exceptions.Unavailable(
                f'{path} stays locked by another process'
            )
        return lock

    def withdraw(self, digest: str) -> None:
        """Make a copy vanish by one rename, then remove its files.

        The caller holds the copy's lock, exclusively.

        :raises WriteDenied: if the directory is read-only or forbidden
        """
        trash = os.path.join(self.paths.incoming, f'trash-{uuid.uuid4().hex}')
        with fsutil.os_errors():
            os.rename(self.paths.copy(digest), trash)
            # A neighbour that went at the same time took the shelf along.
            with contextlib.suppress(FileNotFoundError):
                fsutil.fsync_directory(self.paths.shelf(digest))
        staging.erase(trash)
        staging.remove_if_empty(self.paths.shelf(digest))

    def _quarantine(self, path: str) -> str:
        name = (
            f'{os.path.basename(path)}.{int(time.time())}'
            f'.{uuid.uuid4().hex[:8]}'
        )
        target = os.path.join(self.paths.quarantine, name)
        os.rename(path, target)
        fsutil.fsync_directory(self.paths.quarantine)
        return target

    def clean_incoming(self) -> int:
        """Remove what crashed writers left; return how many there were."""
        # Of a process that died while it wrote the marker or the memory.
        fsutil.remove_leftovers(self.paths.root, fsutil.TEMP)
        count = 0
        for name in os.listdir(self.paths.incoming):
            if name.startswith(layout.FETCH):
                continue  # the agent resumes it
            path = os.path.join(self.paths.incoming, name)
            if os.path.isdir(path):
                lock = _try_lock(path)
                if lock is None:
                    continue  # somebody writes it right now
                with lock:
                    staging.erase(path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - os.lstat(path).st_mtime < _PROBE_AGE:
                        continue
                    os.unlink(path)
            count += 1
        return count


def _try_lock(path: str) -> fsutil.DirectoryLock | None:
    try:
        return fsutil.lock_directory(path)
    except FileNotFoundError:
        return None


def _line(exc: Exception) -> str:
    """Return what went wrong as a line that a record can hold."""
    return ''.join(c if c.isprintable() else ' ' for c in str(exc))[:1000]
