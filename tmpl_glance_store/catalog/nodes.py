# SPDX-License-Identifier: Apache-2.0
"""Which nodes live, and say so as long as their leases last."""

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import copies
from tmpl_glance_store.catalog import records as catalog_records


class Nodes:
    """The nodes of a cluster.

    :param held: their copies
    """

    def __init__(
        self, records: catalog_records.Records, held: copies.Copies
    ) -> None:
        self._records = records
        self._held = held

    def live(self) -> dict[str, objects.Node]:
        """Return the live nodes, by name."""
        return {node.name: node for node in self._records.nodes.list()}

    def with_copy(self, digest: str) -> set[str]:
        """Return the names of the nodes with a complete copy, live or not.

        Copies on disks that cannot be read now do not count.
        """
        complete = {
            copy.location_id for copy in self._held.of(digest) if copy.complete
        }
        return {
            location.node
            for location in self._records.locations.list()
            if location.id in complete and location.is_readable
        }

    def holders(self, digest: str) -> list[objects.Node]:
        """Return the live nodes with a complete copy, by name."""
        names = self.with_copy(digest)
        return [node for name, node in self.live().items() if name in names]

    def announce(self, node: objects.Node, lease: int) -> None:
        """Record a live node for as long as its lease lives.

        :raises NotFound: if the lease has expired
        :raises Duplicate: if another process lives under this name
        """
        catalog_records.retry(lambda: self._try_to_announce(node, lease))

    def _try_to_announce(self, node: objects.Node, lease: int) -> bool:
        found = self._records.nodes.look(node.name)
        if found.record is not None and found.record.instance != node.instance:
            raise exceptions.Duplicate(
                f'another agent lives as node {node.name}, at '
                f'{found.record.api}. If it was killed just now, it counts '
                f'as live for tmpl_store_lease at most; else stop it, or '
                f'give each agent a tmpl_store_node of its own'
            )
        return self._records.store.commit(
            [found.unchanged()], [self._records.nodes.put(node, lease)]
        )

    def grant(self, ttl: int) -> int:
        """Return a new lease of *ttl* seconds."""
        return self._records.store.grant(ttl)

    def keep_alive(self, lease: int) -> bool:
        """Begin the lease's time anew; False if it has expired."""
        return self._records.store.keep_alive(lease)

    def revoke(self, lease: int) -> None:
        """End a lease: its node is gone at once."""
        self._records.store.revoke(lease)
