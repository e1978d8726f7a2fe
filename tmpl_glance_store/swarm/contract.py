# SPDX-License-Identifier: Apache-2.0
"""What the agent asks of a swarm. No code.

``tests/contract/swarm.py`` is the suite that every implementation passes.
"""

from collections.abc import Iterable
from typing import Protocol

from tmpl_glance_store import objects
from tmpl_glance_store.swarm import progress

#: The address of a node, and the port at which it takes peers.
Peer = tuple[str, int]


class Swarm(Protocol):
    """Transfers templates between the nodes of a cluster.

    Threads may share one. Peers come from :meth:`connect` alone: there is no
    DHT, no local discovery and no tracker. Who made it is told the digest
    whenever a fetch is complete or a transfer has failed, in a thread of the
    swarm, and asks :meth:`progress` which of them it is.
    """

    def seed(
        self, template: objects.Template, pieces: bytes, directory: str
    ) -> None:
        """Give ``image`` in *directory* to peers; never write to it.

        The file is believed to be whole. Each piece is proved once before a
        peer gets it: a bad one ends the transfer with ``CorruptCopy``. What
        this swarm has fetched goes on serving its peers, without a break,
        from the new directory.

        :param pieces: the content of the file ``pieces``
        :raises CorruptCopy: if *pieces* do not prove the digest
        :raises Invalid: for an empty template
        """

    def fetch(
        self, template: objects.Template, pieces: bytes, directory: str
    ) -> None:
        """Get the template from peers into ``image`` in *directory*.

        The file appears sparse, with mode 0600. What an earlier fetch has
        left there is proved and kept.

        :param pieces: the content of the file ``pieces``
        :raises CorruptCopy: if *pieces* do not prove the digest
        :raises Invalid: for an empty template
        """

    def connect(self, digest: str, peers: Iterable[Peer]) -> None:
        """Tell which nodes have the template, or are fetching it.

        Cheap to repeat. Peers told before are kept; an unknown digest is
        ignored.
        """

    def progress(self, digest: str) -> progress.Progress | None:
        """Return how far a transfer is; None if there is no such transfer."""

    def stop(self, digest: str) -> None:
        """Forget a transfer; its file stays. An unknown one is ignored."""

    @property
    def traffic(self) -> tuple[int, int]:
        """Template bytes (received, sent) since the start, a moment ago."""

    def set_limits(self, upload: int, download: int) -> None:
        """Set the limits in bytes/s over all peers; 0 is no limit."""

    def close(self) -> None:
        """End all transfers and stop listening; more calls do nothing."""
