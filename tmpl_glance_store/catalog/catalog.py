# SPDX-License-Identifier: Apache-2.0
"""What a cluster knows: its templates, images, locations, copies and nodes."""

import time
from collections.abc import Callable, Iterable

from tmpl_glance_store.catalog import bindings
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import copies
from tmpl_glance_store.catalog import draft
from tmpl_glance_store.catalog import history
from tmpl_glance_store.catalog import locations
from tmpl_glance_store.catalog import nodes
from tmpl_glance_store.catalog import records
from tmpl_glance_store.catalog import snapshot as catalog_snapshot


class Catalog:
    """What the cluster *cluster* knows; asked and changed by its parts.

    All their methods raise
    :class:`~tmpl_glance_store.exceptions.Unavailable` when the store beneath
    cannot be reached.

    :param store: a driver of the key-value contract
    :param clock: seconds since the epoch
    :param memories: returns what this host remembers of the catalog
    """

    def __init__(
        self,
        store: contract.KeyValue,
        cluster: str,
        clock: Callable[[], float] = time.time,
        *,
        memories: Callable[[], Iterable[history.Seen]] = tuple,
    ) -> None:
        self.records = records.Records(store, cluster)
        self.copies = copies.Copies(self.records, clock)
        self.bindings = bindings.Bindings(
            self.records, self.copies.exist, clock
        )
        self.locations = locations.Locations(self.records)
        self.nodes = nodes.Nodes(self.records, self.copies)
        self.history = history.History(self.records, memories, clock)

    @property
    def root(self) -> str:
        """What the keys of the cluster begin with, without a slash."""
        return self.records.root

    def entries(self) -> list[contract.Entry]:
        """Return all that nodes may know, as it is at one moment."""
        return self.records.entries()

    def snapshot(self) -> catalog_snapshot.Snapshot:
        """Return what the cluster is now, in one read."""
        return draft.snapshot(self.records, self.entries())

    def watch(self) -> contract.Watch:
        """Return a watch of all that nodes may know."""
        return self.records.store.watch(f'{self.records.state}/')

    def close(self) -> None:
        """Give up connections."""
        self.records.store.close()
