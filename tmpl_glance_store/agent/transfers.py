# SPDX-License-Identifier: Apache-2.0
"""The copies on their way to this node."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from tmpl_glance_store import objects
from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store.agent import status
from tmpl_glance_store.agent import transfer
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.remote import templates as remote

LOG = logging.getLogger(__name__)

_RETRY = 10  # seconds after a failed fetch before it is tried again
_RECONNECT = 2  # seconds after which a fetch is told of its peers again
_END = 5  # seconds for each transfer to end


class Transfers:
    """Runs fetches, so many at a time; one that has failed pauses.

    All but :meth:`told` and :meth:`status` belongs to the thread that makes
    the passes.

    :param limit: fetches at a time
    :param ended: called whenever a transfer has ended, in whichever way
    """

    def __init__(
        self,
        *,
        keeper: keeping.Keeper,
        swarm: swarm_package.Swarm,
        remote: remote.RemoteTemplates,
        limit: int,
        ended: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keeper = keeper
        self._swarm = swarm
        self._remote = remote
        self._limit = limit
        self._ended = ended
        self._clock = clock
        self._running: dict[str, transfer.Transfer] = {}
        self._not_before: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, digest: str) -> bool:
        return digest in self._running

    @property
    def digests(self) -> frozenset[str]:
        """The templates that are being fetched."""
        return frozenset(self._running)

    @property
    def paused(self) -> frozenset[str]:
        """The templates whose last fetch failed so recently that they wait."""
        now = self._clock()
        return frozenset(
            digest for digest, until in self._not_before.items() if until > now
        )

    def fetch(
        self,
        template: objects.Template,
        location: local.LocalLocation,
        sources: Sequence[transfer.Source],
    ) -> None:
        """Begin a fetch if it may, or tell one under way of its sources."""
        running = self._running.get(template.digest)
        if running is None:
            if len(self) >= self._limit or template.digest in self.paused:
                return
            self._running[template.digest] = running = transfer.Transfer(
                template,
                location,
                sources,
                keeper=self._keeper,
                swarm=self._swarm,
                remote=self._remote,
                ended=self._ended,
            )
            running.start()
        running.sources = list(sources)
        self._swarm.connect(template.digest, [each.peer for each in sources])

    def told(self, digest: str) -> None:
        """Wake the transfer of a template: the swarm has news of it."""
        running = self._running.get(digest)
        if running is not None:
            running.news.set()

    def keep_only(self, digests: Iterable[str]) -> None:
        """Cancel the fetches of all other templates."""
        for digest in self._running.keys() - set(digests):
            self._running[digest].cancel()

    def reap(self) -> None:
        """Forget the transfers that have ended; those that failed pause."""
        now = self._clock()
        self._not_before = {
            digest: until
            for digest, until in self._not_before.items()
            if until > now
        }
        for digest, running in list(self._running.items()):
            if running.is_alive():
                continue
            del self._running[digest]
            if running.error is not None:
                self._not_before[digest] = now + _RETRY
                LOG.info(
                    'The fetch of %s is tried again: %s', digest, running.error
                )

    def next_change(self) -> float | None:
        """Return the seconds until a transfer needs another pass, or None."""
        now = self._clock()
        times = [
            each - now for each in self._not_before.values() if each > now
        ]
        if self._running:
            times.append(_RECONNECT)
        return min(times, default=None)

    def close(self) -> None:
        """Break all transfers off; they are resumed by the next start."""
        self.keep_only(())
        for running in list(self._running.values()):
            running.join(_END)

    def status(self) -> list[status.Transfer]:
        """Return how far each transfer is, for people and programs."""
        return [
            running.status() for _, running in sorted(self._running.items())
        ]
