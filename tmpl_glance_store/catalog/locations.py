# SPDX-License-Identifier: Apache-2.0
"""Which directories there are on which nodes, and what is wanted of them.

The node of a location says what it is like, the operator whether it takes
copies: two records, for two writers.
"""

import dataclasses
import functools

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import records as catalog_records


class Locations:
    """The locations of a cluster."""

    def __init__(self, records: catalog_records.Records) -> None:
        self._records = records

    def all(self) -> list[objects.Location]:
        """Return all locations of the cluster, by id."""
        wanted = {
            each.location_id: each for each in self._records.placement.list()
        }
        return [
            join(each, wanted.get(each.id))
            for each in self._records.locations.list()
        ]

    def put(self, location: objects.Location) -> None:
        """Record a location; nothing is written if nothing changed."""
        table = self._records.locations
        if not table.holds(location):
            self._records.store.commit([], [table.put(location)])

    def forget(self, location_id: str) -> None:
        """Remove the records of a location, and of its copies.

        Its disk was replaced: what it held is lost.
        """
        records = self._records
        gone = records.copies.list(catalog_records.copy_name('', location_id))
        for copy in gone:
            records.store.commit(
                [], [contract.Delete(records.copies.key(copy))]
            )
        records.store.commit(
            [], [contract.Delete(records.locations.at(location_id))]
        )

    def drain(self, node: str) -> list[objects.Location]:
        """Take the node's locations out of the placement.

        :returns: its locations as they are now
        :raises NotFound: if the node has none
        :raises Invalid: if no other node has an active one: the copies could
            go nowhere
        """
        known = self.all()
        if any(each.node == node for each in known) and not any(
            each.node != node
            and each.state == objects.ACTIVE
            and each.tier != objects.STAGING
            for each in known
        ):
            raise exceptions.Invalid(
                f'no other node than {node} has an active location, which '
                f'could take its copies'
            )
        return self._set_states(node, objects.ACTIVE, objects.DRAINING)

    def resume(self, node: str) -> list[objects.Location]:
        """Let the node's locations count again after :meth:`drain`.

        :returns: its locations as they are now
        :raises NotFound: if the node has none
        """
        return self._set_states(node, objects.DRAINING, objects.ACTIVE)

    def _set_states(
        self, node: str, old: str, new: str
    ) -> list[objects.Location]:
        """Change what is wanted of a node's locations where it is *old*."""
        for location in self.all():
            if location.node == node:
                catalog_records.retry(
                    functools.partial(
                        self._try_to_set_state, location.id, old, new
                    )
                )
        changed = [each for each in self.all() if each.node == node]
        if not changed:
            raise exceptions.NotFound(f'no node {node} has a location')
        return changed

    def _try_to_set_state(self, location_id: str, old: str, new: str) -> bool:
        found = self._records.placement.find(location_id)
        if (found.record.state if found.record else objects.ACTIVE) != old:
            return True
        return self._records.store.commit(
            [found.unchanged()],
            [self._records.placement.put(objects.Placement(location_id, new))],
        )


def join(
    location: objects.Location, placement: objects.Placement | None
) -> objects.Location:
    """Return what its node says of a location, with what is wanted of it."""
    state = placement.state if placement else objects.ACTIVE
    if state == location.state:
        return location
    return dataclasses.replace(location, state=state)
