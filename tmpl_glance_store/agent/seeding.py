# SPDX-License-Identifier: Apache-2.0
"""The copies of this node that others fetch right now."""

from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store.agent import sources
from tmpl_glance_store.agent import transfers as agent_transfers
from tmpl_glance_store.catalog.snapshot import Snapshot
from tmpl_glance_store.localstore import store as local_store


class Seeding:
    """Offers what others fetch, and nothing else.

    :param node: the name of this node
    """

    def __init__(
        self,
        *,
        node: str,
        store: local_store.LocalStore,
        swarm: swarm_package.Swarm,
        transfers: agent_transfers.Transfers,
    ) -> None:
        self._node = node
        self._store = store
        self._swarm = swarm
        self._transfers = transfers
        self._seeds: frozenset[str] = frozenset()

    def __contains__(self, digest: str) -> bool:
        return digest in self._seeds

    def offer(self, seeds: frozenset[str], now: Snapshot) -> None:
        """Offer these templates, and no others any more."""
        for digest in self._seeds - seeds:
            self.stop(digest)
        for digest in seeds:
            if digest not in self._transfers and digest in now.templates:
                self._seed(digest, now)
        self._seeds = seeds

    def stop(self, digest: str) -> None:
        """Offer a template no more, unless it is still being fetched."""
        if digest not in self._transfers:
            self._swarm.stop(digest)

    def _seed(self, digest: str, now: Snapshot) -> None:
        location = self._store.find(digest)
        if location is None:
            return
        self._swarm.seed(
            now.templates[digest].template,
            location.pieces(digest),
            location.paths.copy(digest),
        )
        self._swarm.connect(
            digest,
            [
                sources.peer_of(each)
                for each in now.fetchers(digest, besides=self._node)
            ],
        )
