# SPDX-License-Identifier: Apache-2.0
"""Clients that have not shown a certificate yet, by where they come from."""

import dataclasses
import ipaddress
import threading
from collections.abc import Callable


def origin(address: str) -> str:
    """Return who answers for *address*: itself, or its /64 network in IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition('%')[0])
    except ValueError:
        return address
    if ip.version == 4:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False))


@dataclasses.dataclass(slots=True)
class _Origin:
    """``failures`` were those at ``since``; they are forgiven with time."""

    since: float
    pending: int = 0
    failures: float = 0


class Strangers:
    """Bounds handshakes: those that are under way, and those that failed.

    So one host without a certificate can neither take all places nor keep
    the server busy with handshakes that lead nowhere.

    :param total: handshakes under way
    :param pending: of them from one origin
    :param failures: handshakes from one origin that may fail at once; one a
        second is forgiven
    :param clock: as ``time.monotonic``
    """

    def __init__(
        self,
        *,
        total: int,
        pending: int,
        failures: int,
        clock: Callable[[], float],
    ) -> None:
        self._total = total
        self._pending = pending
        self._failures = failures
        self._clock = clock
        self._lock = threading.Lock()
        self._all = 0
        self._origins: dict[str, _Origin] = {}

    def enter(self, address: str) -> bool:
        """Let a client begin its handshake, and tell whether it may."""
        now = self._clock()
        with self._lock:
            found = self._at(address, now)
            if (
                self._all >= self._total
                or found.pending >= self._pending
                or found.failures > self._failures - 1
            ):
                return False
            found.pending += 1
            self._all += 1
            return True

    def leave(self, address: str, *, proved: bool) -> None:
        """Take note of how the handshake of a client ended."""
        now = self._clock()
        with self._lock:
            found = self._at(address, now)
            found.pending -= 1
            found.failures += not proved
            self._all -= 1

    def forgive(self) -> None:
        """Forget those against whom there is nothing any more."""
        now = self._clock()
        with self._lock:
            for name, each in list(self._origins.items()):
                if not each.pending and each.failures <= now - each.since:
                    del self._origins[name]

    def _at(self, address: str, now: float) -> _Origin:
        found = self._origins.setdefault(origin(address), _Origin(now))
        found.failures = max(0, found.failures - (now - found.since))
        found.since = now
        return found
