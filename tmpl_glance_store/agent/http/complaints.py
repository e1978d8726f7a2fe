# SPDX-License-Identifier: Apache-2.0
"""What clients do wrong, told with a count instead of a line each."""

import dataclasses
import logging
import threading
from collections.abc import Callable

from tmpl_glance_store.agent.http import strangers

LOG = logging.getLogger(__name__)

_PERIOD = 60  # seconds
_MOST = 100  # origins that are told of by name in a period
_OTHERS = 'other clients'


@dataclasses.dataclass(slots=True)
class _Told:
    since: float
    more: int = 0


class Complaints:
    """Logs each reason once a minute for each address.

    :param clock: as ``time.monotonic``
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], _Told] = {}

    def add(self, address: str, reason: str, detail: str = '') -> None:
        """Tell that a client at *address* was refused or cut, or count it."""
        name = strangers.origin(address)
        with self._lock:
            if (name, reason) not in self._told and len(self._told) >= _MOST:
                name = _OTHERS
            told = self._told.get((name, reason))
            if told is not None:
                told.more += 1
                return
            self._told[name, reason] = _Told(self._clock())
        LOG.info(
            'The API refuses %s: %s%s', name, reason, detail and f': {detail}'
        )

    def sum_up(self) -> None:
        """Tell how often it was since the last line, once it was a minute."""
        now = self._clock()
        with self._lock:
            for (name, reason), told in list(self._told.items()):
                if now - told.since < _PERIOD:
                    continue
                if not told.more:
                    del self._told[name, reason]
                    continue
                LOG.info(
                    'The API refused %s %d times more: %s',
                    name,
                    told.more,
                    reason,
                )
                self._told[name, reason] = _Told(now)
