# SPDX-License-Identifier: Apache-2.0
"""Time that passes only when somebody waits for it."""

import threading
from collections.abc import Callable


class Clock:
    """The time, which passes when we say so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Event(threading.Event):
    """An event for which nobody waits: the clock goes on instead.

    :param at_most: waits before it is set, so that a loop ends
    :param on_wait: called with the number of each wait, from 1
    """

    def __init__(
        self,
        clock: Clock,
        at_most: int = 100,
        on_wait: Callable[[int], object] = lambda number: None,
    ) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._clock = clock
        self._at_most = at_most
        self._on_wait = on_wait

    def wait(self, timeout: float | None = None) -> bool:
        """Let *timeout* seconds pass, unless the event is set."""
        assert timeout is not None, 'would wait for ever'
        if self.is_set():
            return True
        self.waits.append(timeout)
        self._clock.now += timeout
        self._on_wait(len(self.waits))
        if len(self.waits) >= self._at_most:
            self.set()
        return self.is_set()
