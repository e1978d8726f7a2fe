# SPDX-License-Identifier: Apache-2.0
"""How long other nodes, and their disks, have been away."""

import time
from collections.abc import Callable

from tmpl_glance_store.catalog.snapshot import Snapshot


class Absences:
    """Tells what is away for so long that others take its place.

    A node without a lease, by its name; a disk that its live node cannot
    read, by the id of the location.

    Each agent measures with its own clock, from when it noticed: a new agent
    waits anew, which is on the safe side.

    :param node: the name of this node, which is never away
    :param delay: seconds that a node may be away before it counts as gone
    """

    def __init__(
        self,
        *,
        node: str,
        delay: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._delay = delay
        self._clock = clock
        self._since: dict[str, float] = {}

    def note(self, now: Snapshot) -> None:
        """Take in which nodes live, with which disks; once a pass."""
        others = [
            each for each in now.locations.values() if each.node != self._node
        ]
        away = {each.node for each in others} - now.nodes.keys()
        away |= {each.id for each in others if not each.is_readable}
        moment = self._clock()
        self._since = {name: self._since.get(name, moment) for name in away}

    def gone(self) -> frozenset[str]:
        """Return what was away for longer than the delay."""
        moment = self._clock()
        return frozenset(
            name
            for name, since in self._since.items()
            if moment - since >= self._delay
        )

    def next_change(self) -> float | None:
        """Return the seconds until another node is gone, or None."""
        moment = self._clock()
        times = (
            since + self._delay - moment for since in self._since.values()
        )
        return min((each for each in times if each > 0), default=None)
