# SPDX-License-Identifier: Apache-2.0
"""One pass after another: when woken, when time changes the plan, or later."""

import logging
import threading
import time
from collections.abc import Callable

from tmpl_glance_store import exceptions

LOG = logging.getLogger(__name__)

_GATHER = 0.1  # seconds in which several events wake one pass
_RETRY = 2  # seconds after a pass that failed
_GRACE = 60  # seconds that a pass may take before the node counts as ill


class Wake:
    """Wakes the loop; knows whether the catalog may have changed.

    :param event: what is waited for
    """

    def __init__(self, event: threading.Event | None = None) -> None:
        self._event = threading.Event() if event is None else event
        self._refresh = True

    def set(self, refresh: bool = False) -> None:
        """Wake the loop; *refresh* if the catalog may have changed."""
        self._refresh |= refresh
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Wait until woken, or for *seconds*."""
        self._event.wait(seconds)

    def take(self) -> bool:
        """Return whether the catalog may have changed, and forget it."""
        self._event.clear()
        refresh, self._refresh = self._refresh, False
        return refresh


class Loop:
    """Makes passes until it is stopped, whatever becomes of a single one.

    :param make_pass: makes one, told whether the catalog may have changed;
        returns the seconds until time alone changes something, or None
    :param on_failure: told of each pass that failed
    :param interval: seconds between passes that nothing else has caused
    :param stopped: what ends the loop, and its pauses
    """

    def __init__(
        self,
        *,
        make_pass: Callable[[bool], float | None],
        on_failure: Callable[[], object],
        interval: float,
        wake: Wake,
        stopped: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem: str | None = 'no pass has been made yet'
        self._make_pass = make_pass
        self._on_failure = on_failure
        self._wake = wake
        self._interval = interval
        self._stopped = threading.Event() if stopped is None else stopped
        self._clock = clock
        self._last_pass = 0.0

    def run(self) -> None:
        """Make passes until stopped; the first one at once."""
        while not self._stopped.is_set():
            self._turn()

    def stop(self) -> None:
        """End :meth:`run`, as soon as the pass under way has ended."""
        self._stopped.set()
        self._wake.set()

    def set_interval(self, seconds: float) -> None:
        """Set the seconds between passes that nothing else has caused."""
        self._interval = seconds
        self._wake.set()

    def healthy(self) -> tuple[bool, str]:
        """Tell whether passes are being made, and what hinders them."""
        if self.problem:
            return False, self.problem
        age = self._clock() - self._last_pass
        if age > 3 * self._interval + _GRACE:
            return False, f'the last pass ended {age:.0f} s ago'
        return True, 'ok'

    def _turn(self) -> None:
        """Make a pass, and wait until the next one is due."""
        refresh = self._wake.take()
        pause = self._interval
        try:
            later = self._make_pass(refresh)
        except Exception as exc:
            # Whatever it was: the state is on disk and in the catalog, and
            # the next pass begins from there.
            self._failed(exc)
            self._wake.set(refresh=True)
            self._stopped.wait(_RETRY)
            return
        self.problem, self._last_pass = None, self._clock()
        self._wake.wait(pause if later is None else min(pause, later))
        self._stopped.wait(_GATHER)

    def _failed(self, exc: Exception) -> None:
        if str(exc) == self.problem:
            LOG.debug('The pass failed again: %s', exc)
        elif isinstance(exc, exceptions.TmplError):
            LOG.warning('The pass failed: %s', exc)
        else:
            LOG.error('The pass failed', exc_info=exc)
        self.problem = str(exc)
        self._on_failure()
