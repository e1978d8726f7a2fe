# SPDX-License-Identifier: Apache-2.0
"""What a cluster is at one moment, and what everybody asks about it."""

import dataclasses
from collections.abc import Iterator, Mapping

from tmpl_glance_store import objects


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The catalog at one moment; it never changes, so any thread may read.

    ``copies`` are by digest, then by location, and intended ones are among
    them; the others are by their ids.
    """

    templates: Mapping[str, objects.TemplateRecord]
    locations: Mapping[str, objects.Location]
    copies: Mapping[str, Mapping[str, objects.Copy]]
    nodes: Mapping[str, objects.Node]

    def complete(self, digest: str) -> frozenset[str]:
        """Return the ids of the locations with a complete copy."""
        return frozenset(
            location_id
            for location_id, copy in self.copies.get(digest, {}).items()
            if copy.complete
        )

    def copies_in(self, location_id: str) -> Iterator[objects.Copy]:
        """Yield the copies in a location, intended ones included."""
        for by_location in self.copies.values():
            if location_id in by_location:
                yield by_location[location_id]

    def holders(
        self, digest: str, besides: str | None = None
    ) -> list[objects.Node]:
        """Return the live nodes with a complete copy, by name.

        :param besides: the name of a node that is left out
        """
        with_copy = {self.node_of(each) for each in self.complete(digest)}
        return self._live(with_copy - {besides})

    def fetchers(
        self, digest: str, besides: str | None = None
    ) -> list[objects.Node]:
        """Return the live nodes that fetch a template now, by name.

        :param besides: the name of a node that is left out
        """
        fetching = {
            name
            for name, node in self.nodes.items()
            if digest in node.fetching and name != besides
        }
        return self._live(fetching)

    def node_of(self, location_id: str) -> str | None:
        """Return the name of a location's node, None if nobody knows it."""
        location = self.locations.get(location_id)
        return location.node if location is not None else None

    def locations_of(self, node: str) -> list[objects.Location]:
        """Return the locations of a node, by path."""
        return sorted(
            (each for each in self.locations.values() if each.node == node),
            key=lambda each: each.path,
        )

    def images(self) -> dict[str, str]:
        """Return the digests of the images that live, by image id."""
        return {
            image_id: digest
            for digest, record in self.templates.items()
            if record.deleted_at is None
            for image_id in record.images
        }

    def _live(self, names: set[str | None] | set[str]) -> list[objects.Node]:
        return [
            node for name, node in sorted(self.nodes.items()) if name in names
        ]


EMPTY = Snapshot({}, {}, {}, {})
