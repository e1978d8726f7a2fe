# SPDX-License-Identifier: Apache-2.0
"""What a cluster is at one moment, and what everybody asks about it."""

import dataclasses
from collections.abc import Iterator, Mapping, Set

from tmpl_glance_store import objects

#: How well a template is, by the copies that are served now. ``filling``: they
#: are on their way. ``degraded``: some that there were are away; ``at risk``:
#: and only one node has one; ``lost``: none can be read. Nobody claims what is
#: ``unreferenced``, and what is ``deleted`` goes.
(COMPLETE, FILLING, DEGRADED, AT_RISK, LOST, UNREFERENCED, DELETED) = (
    CONDITIONS
) = (
    'complete',
    'filling',
    'degraded',
    'at risk',
    'lost',
    'unreferenced',
    'deleted',
)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The catalog at one moment; it never changes, so any thread may read.

    ``copies`` are by digest, then by location, and intended ones are among
    them; the others are by their ids. ``bad`` are the keys of the records that
    were left out, with the reasons. ``doubt`` says why nothing may be removed
    on the catalog's word, empty if it may.
    """

    templates: Mapping[str, objects.TemplateRecord]
    locations: Mapping[str, objects.Location]
    copies: Mapping[str, Mapping[str, objects.Copy]]
    nodes: Mapping[str, objects.Node]
    bad: Mapping[str, str] = dataclasses.field(default_factory=dict)
    doubt: str = ''

    def complete(self, digest: str) -> frozenset[str]:
        """Return the ids of the locations with a complete copy."""
        return frozenset(
            location_id
            for location_id, copy in self.copies.get(digest, {}).items()
            if copy.complete
        )

    def live(self, digest: str) -> frozenset[str]:
        """Return the ids of the locations that serve a copy now.

        Their node lives, and says that it can read their disk.
        """
        return frozenset(
            each for each in self.complete(digest) if self.serves(each)
        )

    def serves(self, location_id: str) -> bool:
        """Tell whether copies in a location can be read now."""
        location = self.locations.get(location_id)
        return (
            location is not None
            and location.node in self.nodes
            and location.is_readable
        )

    def condition(self, digest: str, wanted: Set[str]) -> str:
        """Return how well a template is, one of ``CONDITIONS``.

        :param wanted: the ids of the locations that should have it
        """
        record = self.templates[digest]
        if record.deleted_at is not None:
            return DELETED
        if not record.images and not record.pinned:
            return UNREFERENCED
        live = self.live(digest)
        if not live:
            return LOST
        if wanted <= live:
            return COMPLETE
        if len({self.node_of(each) for each in live}) == 1:
            # All that is lost with one node more.
            return AT_RISK if self.complete(digest) - live else FILLING
        return DEGRADED if self.complete(digest) - live else FILLING

    def copies_in(self, location_id: str) -> Iterator[objects.Copy]:
        """Yield the copies in a location, intended ones included."""
        for by_location in self.copies.values():
            if location_id in by_location:
                yield by_location[location_id]

    def holders(
        self, digest: str, besides: str | None = None
    ) -> list[objects.Node]:
        """Return the live nodes that serve a complete copy, by name.

        :param besides: the name of a node that is left out
        """
        with_copy = {self.node_of(each) for each in self.live(digest)}
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
