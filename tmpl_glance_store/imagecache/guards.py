# SPDX-License-Identifier: Apache-2.0
"""Boots that wait: locks that are held until a base file is there.

Each for ``lock_timeout`` at most; after that Nova downloads the image itself,
as it would without us.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from oslo_concurrency import lockutils

from tmpl_glance_store.imagecache import locks as nova_locks

LOG = logging.getLogger(__name__)

_MAX_GUARDS = 256  # each takes a descriptor


class Guards:
    """The base files whose boots wait.

    One thread calls :meth:`held` and :meth:`guard`, any may call the rest.

    :param timeout: seconds for which :meth:`guard` holds a lock at most
    """

    def __init__(
        self,
        locks: nova_locks.Locks,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._locks = locks
        self._timeout = timeout
        self._clock = clock
        # Held for moments only: guards have to end in time.
        self._changed = threading.Condition()
        self._guards: dict[str, _Guard] = {}
        self._watcher: threading.Thread | None = None
        self._closed = False

    @property
    def guarded(self) -> frozenset[str]:
        """The base files whose boots wait now."""
        with self._changed:
            return frozenset(self._guards)

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[bool]:
        """Hold the lock of the base file *name*, if it is free.

        One that is guarded is taken over, and free at the end.

        :returns: whether it is held; False if Nova has it
        :raises WriteDenied: if the lock cannot be used; says what to do
        """
        lock = self._withdraw(name) or self._locks.take(name)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.release()

    def guard(self, name: str) -> bool:
        """Hold the lock of *name* until it is let go, or the time is over.

        :returns: whether it is held; False if Nova has it, if there are as
            many already as the agent has descriptors for, no time at all, or
            no agent soon
        :raises WriteDenied: if the lock cannot be used; says what to do
        """
        guarded = self.guarded
        if name in guarded:
            return True
        if len(guarded) >= _MAX_GUARDS or self._timeout <= 0:
            return False
        lock = self._locks.take(name)
        if lock is None:
            return False
        with self._changed:
            if self._closed:
                lock.release()
                return False
            self._guards[name] = _Guard(lock, self._clock() + self._timeout)
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name='guards', daemon=True
                )
                self._watcher.start()
            self._changed.notify()
        return True

    def let_go(self, name: str) -> None:
        """Let the boots of *name* go on; nothing if they do not wait."""
        lock = self._withdraw(name)
        if lock is not None:
            lock.release()

    def close(self) -> None:
        """Let everybody go on, from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        for name in self.guarded:
            self.let_go(name)

    def _withdraw(self, name: str) -> lockutils.InterProcessLock | None:
        """Return the lock of a guard, which is over then."""
        with self._changed:
            guard = self._guards.pop(name, None)
        return guard.lock if guard is not None else None

    def expire(self) -> None:
        """End the guards whose time is over."""
        with self._changed:
            over = self._over()
        for name in over:
            LOG.warning(
                'Boots from base file %s have waited for %g s '
                '([nova] lock_timeout): Nova downloads it itself',
                name,
                self._timeout,
            )
            self.let_go(name)

    def _watch(self) -> None:
        while not self._closed:
            with self._changed:
                if not self._over() and not self._closed:
                    self._changed.wait(self._left())
            self.expire()

    def _over(self) -> list[str]:
        now = self._clock()
        return [
            name for name, guard in self._guards.items() if guard.until <= now
        ]

    def _left(self) -> float | None:
        """Return the seconds until the first guard ends, None without one."""
        ends = [guard.until for guard in self._guards.values()]
        return max(min(ends) - self._clock(), 0) if ends else None


class _Guard(NamedTuple):
    lock: lockutils.InterProcessLock
    until: float  # by the clock
