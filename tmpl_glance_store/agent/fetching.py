# SPDX-License-Identifier: Apache-2.0
"""The fetches of the plan, and what is left of those that it gave up."""

from collections.abc import Sequence, Set

from tmpl_glance_store.agent import plan
from tmpl_glance_store.agent import sources
from tmpl_glance_store.agent import transfers as agent_transfers
from tmpl_glance_store.catalog.snapshot import Snapshot
from tmpl_glance_store.localstore import store as local_store


class Fetching:
    """Lets the transfers follow the plan.

    :param node: the name of this node
    """

    def __init__(
        self,
        *,
        node: str,
        store: local_store.LocalStore,
        transfers: agent_transfers.Transfers,
    ) -> None:
        self._node = node
        self._store = store
        self._transfers = transfers
        self._wanted: tuple[plan.Fetch, ...] = ()

    @property
    def waiting(self) -> list[plan.Fetch]:
        """The fetches that wait for their turn, or for a holder."""
        return [
            each for each in self._wanted if each.digest not in self._transfers
        ]

    def follow(self, wanted: Sequence[plan.Fetch], now: Snapshot) -> None:
        """Begin these fetches, as many as may run, and end all others."""
        self._wanted = tuple(wanted)
        self._tidy({each.digest for each in wanted})
        for fetch in wanted:
            location = self._store.get(fetch.location_id)
            found = sources.sources_of(fetch.digest, now, self._node)
            if found and location is not None:
                self._transfers.fetch(
                    now.templates[fetch.digest].template, location, found
                )

    def arriving(self, now: Snapshot) -> frozenset[str]:
        """Return the templates under way, or waiting for others to end.

        Without a holder there is nothing to wait for.
        """
        return self._transfers.digests | {
            each.digest
            for each in self.waiting
            if now.holders(each.digest, besides=self._node)
        }

    def _tidy(self, wanted: Set[str]) -> None:
        """Cancel fetches that are not wanted any more; remove their rest."""
        self._transfers.keep_only(wanted)
        for location in self._store.locations:
            if not location.is_well():
                continue
            for digest in location.paths.fetches():
                if digest not in wanted and digest not in self._transfers:
                    location.abandon_fetch(digest)
