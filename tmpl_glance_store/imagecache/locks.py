# SPDX-License-Identifier: Apache-2.0
"""Nova's own locks of its base files, shared with nova-compute.

Nova takes one to download a base file and for each clone, so who holds it
keeps boots waiting. They are POSIX locks: the kernel drops them when the
agent dies, however it dies.

Source: ``Image.cache`` in nova/virt/libvirt/imagebackend.py, ``synchronized``
in nova/utils.py, oslo_concurrency/lockutils.py.
"""

import contextlib
import os
import stat
import tempfile

from oslo_concurrency import lockutils

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store.imagecache import ownership

_PREFIX = 'nova-'
_ATTEMPTS = 10
_TEMP = '.tmpl-'
_MODE = 0o664  # both Nova's group and its user open it for writing


class Locks:
    """The locks of the base files below *instances_path*.

    No other code of this process may open a lock file: a POSIX lock goes as
    soon as its process closes any descriptor of it.
    """

    def __init__(
        self, instances_path: str, owner: ownership.Ownership
    ) -> None:
        self._path = os.path.join(instances_path, 'locks')
        self._owner = owner

    def clean(self) -> None:
        """Remove what a crash has left behind."""
        fsutil.remove_leftovers(self._path, _TEMP)

    def take(self, name: str) -> lockutils.InterProcessLock | None:
        """Return the lock of the base file *name*, None if Nova has it.

        :raises WriteDenied: if the lock cannot be used; says what to do
        """
        path = os.path.join(self._path, _PREFIX + name)
        for _ in range(_ATTEMPTS):
            lock = lockutils.external_lock(name, _PREFIX, self._path)
            try:
                self._prepare(path)
                taken = lock.acquire(blocking=False)
            except FileNotFoundError:
                continue  # Nova's cache manager has just removed it
            except OSError as exc:
                raise exceptions.WriteDenied(
                    f'lock {path}: {exc}; the agent shares it with Nova: run '
                    f"it as Nova's user, or in Nova's group with CAP_FOWNER "
                    f'and CAP_DAC_OVERRIDE'
                ) from exc
            if not taken:
                lock.lockfile.close()
                return None
            if _is_still(lock, path):
                return lock
            lock.release()  # removed as well: take the new one
        raise exceptions.WriteDenied(f'lock {path} goes whenever it is made')

    def _prepare(self, path: str) -> None:
        """Make sure that there is a lock file that Nova, too, can open.

        One that belongs to somebody else turns Nova's next boot into an
        error. Whoever comes first, it is complete when it appears.
        """
        self._owner.make_directory(self._path)
        try:
            # What Nova's user has put there gets a new owner and mode: it
            # must be a file of this directory, not the way to another one.
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            self._create(path)
            return
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise exceptions.WriteDenied(
                    f'lock {path} is no file of its own; remove it'
                )
            if not self._suits(found):
                self._owner.give(fd)
                os.fchmod(fd, _MODE)
        finally:
            os.close(fd)

    def _suits(self, found: os.stat_result) -> bool:
        """Tell whether both Nova and the agent can open a lock file."""
        user, group = self._owner.nova()
        return (
            found.st_mode & _MODE == _MODE and found.st_gid == group
        ) or found.st_uid == user == os.geteuid()

    def _create(self, path: str) -> None:
        fd, temp = tempfile.mkstemp(prefix=_TEMP, dir=self._path)
        try:
            os.fchmod(fd, _MODE)
            self._owner.give(fd)
            with contextlib.suppress(FileExistsError):  # Nova was faster
                os.link(temp, path)
        finally:
            os.close(fd)
            os.unlink(temp)


def _is_still(lock: lockutils.InterProcessLock, path: str) -> bool:
    try:
        return os.path.samestat(
            os.fstat(lock.lockfile.fileno()), os.stat(path)
        )
    except FileNotFoundError:
        return False
