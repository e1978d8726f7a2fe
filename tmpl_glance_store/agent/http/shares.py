# SPDX-License-Identifier: Apache-2.0
"""How much of something each client may have at a time."""

import collections
import threading


class Shares:
    """Places of which nobody can take so many that none is left for others.

    A client gets one more while it has fewer than *most*, and fewer than are
    free: the fuller it is, the less everybody gets, and who has none yet gets
    even the last one.

    :param total: places
    :param most: places that one client may have
    """

    def __init__(self, total: int, most: int) -> None:
        self._total = total
        self._most = most
        self._lock = threading.Lock()
        self._taken: collections.Counter[str] = collections.Counter()

    def take(self, client: str) -> bool:
        """Take a place, and tell whether there was one."""
        with self._lock:
            free = self._total - self._taken.total()
            if self._taken[client] >= min(self._most, free):
                self._drop(client)
                return False
            self._taken[client] += 1
            return True

    def give(self, client: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken[client] -= 1
            self._drop(client)

    def _drop(self, client: str) -> None:
        if self._taken[client] <= 0:
            del self._taken[client]
