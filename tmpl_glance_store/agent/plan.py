# SPDX-License-Identifier: Apache-2.0
"""What one node should do next: the difference of wanted and observed.

Pure: a value in, a value out. The reconciler observes and acts; who wants to
know why a node did something needs to look at nothing but this file.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Set
from typing import TypeAlias

from tmpl_glance_store import objects
from tmpl_glance_store.placement import contract as placement


@dataclasses.dataclass(frozen=True)
class Fetch:
    """Get a template from its holders into a location of this node."""

    digest: str
    location_id: str


@dataclasses.dataclass(frozen=True)
class Move:
    """Copy a template between two locations of this node."""

    digest: str
    source_id: str
    target_id: str


@dataclasses.dataclass(frozen=True)
class Adopt:
    """Tell the catalog of a copy that is on disk."""

    digest: str
    location_id: str


@dataclasses.dataclass(frozen=True)
class Forget:
    """Tell the catalog that a copy is not on disk."""

    digest: str
    location_id: str


@dataclasses.dataclass(frozen=True)
class Release:
    """Give up a copy that others can spare us.

    ``keepers`` are the locations that make it superfluous: it may go only
    while the catalog says that all of them are complete.
    """

    digest: str
    location_id: str
    keepers: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Remove:
    """Remove a copy of a template that no image refers to any more."""

    digest: str
    location_id: str


@dataclasses.dataclass(frozen=True)
class ForgetTemplate:
    """Remove the record of a deleted template that has no copies left."""

    digest: str


Action: TypeAlias = (
    Fetch | Move | Adopt | Forget | Release | Remove | ForgetTemplate
)


def _roomy(location: objects.Location, size: int) -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a node knows when it plans.

    ``copies`` are the complete copies in the catalog, as digest -> locations;
    ``held`` what is on the disks of this node, as location -> digests;
    ``live`` the nodes with a lease, ``gone`` those without one for longer than
    the rebuild delay, and the locations that cannot be read for as long;
    ``fetching`` what the other live nodes fetch right now, ``full`` what they
    have no room for, as node -> digests;
    ``low`` the locations of this node that are under their reserve;
    ``wished`` are the templates that Nova fetches to this node right now,
    ``spare`` those whose copies here nothing needs but the placement;
    ``last_used`` gives seconds since the epoch; ``arrived`` the bytes that
    unfinished fetches take on this node already, as (location, digest) ->
    bytes; ``has_room`` tells whether a location can take so many more.
    ``doubt`` says why nothing may be removed on the catalog's word.
    """

    node: str
    templates: Iterable[objects.TemplateRecord]
    locations: Mapping[str, objects.Location]
    copies: Mapping[str, Set[str]]
    held: Mapping[str, Set[str]]
    live: Set[str]
    gone: Set[str] = frozenset()
    fetching: Set[str] = frozenset()
    full: Mapping[str, Set[str]] = dataclasses.field(default_factory=dict)
    low: Set[str] = frozenset()
    wished: Set[str] = frozenset()
    spare: Set[str] = frozenset()
    last_used: Mapping[str, float] = dataclasses.field(default_factory=dict)
    arrived: Mapping[tuple[str, str], int] = dataclasses.field(
        default_factory=dict
    )
    has_room: Callable[[objects.Location, int], bool] = _roomy
    doubt: str = ''


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do, and what the others are to know meanwhile.

    ``seeds`` is what they are offered, ``full`` what they have to hold in this
    node's place.
    """

    actions: tuple[Action, ...]
    seeds: frozenset[str]
    full: frozenset[str] = frozenset()


def make(
    observed: Observed, policy: placement.Policy, everywhere: placement.Policy
) -> Plan:
    """Return the plan of one node.

    :param policy: of the cluster
    :param everywhere: the policy for pinned templates
    """
    return _Planner(observed, policy, everywhere).plan()


class _Planner:
    def __init__(
        self,
        observed: Observed,
        policy: placement.Policy,
        everywhere: placement.Policy,
    ) -> None:
        self._seen = observed
        self._policy = policy
        self._everywhere = everywhere
        self._due: dict[str, int] = {}  # bytes, by location
        self._full: set[str] = set()
        self._here: dict[str, list[str]] = {}
        for location_id, digests in sorted(observed.held.items()):
            for digest in digests:
                self._here.setdefault(digest, []).append(location_id)

    def plan(self) -> Plan:
        actions: list[Action] = []
        surplus: list[Release] = []
        known = set()
        for record in self._arriving_first():
            known.add(record.template.digest)
            if record.deleted_at is not None:
                actions += self._delete(record.template.digest)
                continue
            actions += self._agree(record.template.digest)
            if record.images or record.pinned:
                wanted = self._wanted(record)
                actions += self._fill(record.template, wanted) or self._cache(
                    record.template, wanted
                )
                surplus += self._surplus(record.template.digest, wanted)
        actions += self._strangers(known)
        actions += self._let_go(surplus)
        return Plan(
            tuple(actions),
            frozenset(self._seen.fetching & self._here.keys()),
            frozenset(self._full),
        )

    def _arriving_first(self) -> list[objects.TemplateRecord]:
        """Return the templates: what has begun keeps its room.

        The others by digest, in whichever order they became known.
        """
        arriving = {digest for _, digest in self._seen.arrived}
        return sorted(
            self._seen.templates,
            key=lambda each: (
                each.template.digest not in arriving,
                each.template.digest,
            ),
        )

    def _wanted(
        self, record: objects.TemplateRecord
    ) -> list[objects.Location]:
        """Return the targets that can take a template, or have it.

        If this node would be one, and only lacks the room, that is noted.
        """
        digest = record.template.digest
        refused = set()

        def reachable(location: objects.Location) -> bool:
            return (
                location.node not in self._seen.gone
                and location.id not in self._seen.gone
                and digest not in self._seen.full.get(location.node, ())
            )

        def usable(location: objects.Location) -> bool:
            if not reachable(location):
                return False
            if (
                location.node != self._seen.node
                or digest in self._seen.held.get(location.id, ())
                or self._has_room(location, record.template)
            ):
                return True
            refused.add(location.id)
            return False

        policy = self._everywhere if record.pinned else self._policy
        position = record.template.position
        wanted = policy.targets(position, usable)
        if (
            refused
            and not self._is_among(wanted)
            and self._is_among(policy.targets(position, reachable))
        ):
            self._full.add(digest)
        return wanted

    def _is_among(self, locations: list[objects.Location]) -> bool:
        return any(each.node == self._seen.node for each in locations)

    def _has_room(
        self, location: objects.Location, template: objects.Template
    ) -> bool:
        """Tell whether a location has room beside all that is to come."""
        return self._seen.has_room(
            location,
            (
                self._due.get(location.id, 0)
                + self._missing(location.id, template)
            ),
        )

    def _missing(self, location_id: str, template: objects.Template) -> int:
        arrived = self._seen.arrived.get((location_id, template.digest), 0)
        return max(template.size - arrived, 0)

    def _agree(self, digest: str) -> list[Action]:
        """Bring the catalog's copies on this node in line with the disks."""
        recorded = self._own(self._seen.copies.get(digest, frozenset()))
        here = set(self._here.get(digest, ()))
        return [
            *(Adopt(digest, each) for each in sorted(here - recorded)),
            *(Forget(digest, each) for each in sorted(recorded - here)),
        ]

    def _fill(
        self, template: objects.Template, wanted: list[objects.Location]
    ) -> list[Action]:
        """Bring a wanted copy to this node, or to another disk of it."""
        here = self._here.get(template.digest, [])
        for location in wanted:
            if location.node != self._seen.node or location.id in here:
                continue
            self._due[location.id] = self._due.get(
                location.id, 0
            ) + self._missing(location.id, template)
            if here:
                return [Move(template.digest, here[0], location.id)]
            return [Fetch(template.digest, location.id)]
        return []

    def _cache(
        self, template: objects.Template, wanted: list[objects.Location]
    ) -> list[Action]:
        """Bring a copy here although others are to hold it: Nova wants it."""
        if (
            template.digest not in self._seen.wished
            or template.digest in self._here
            or self._is_among(wanted)
        ):
            return []
        best_first = sorted(
            self._seen.locations.values(),
            key=lambda each: (each.tier != objects.SSD, -each.weight, each.id),
        )
        for location in best_first:
            if (
                location.node == self._seen.node
                and location.state == objects.ACTIVE
                and location.tier != objects.STAGING
                and self._has_room(location, template)
            ):
                self._due[location.id] = self._due.get(
                    location.id, 0
                ) + self._missing(location.id, template)
                return [Fetch(template.digest, location.id)]
        return []

    def _surplus(
        self, digest: str, wanted: list[objects.Location]
    ) -> list[Release]:
        """Return the releases of copies here that the targets make spare."""
        complete = self._seen.copies.get(digest, frozenset())
        targets = [each.id for each in wanted]
        keepers = tuple(
            each for each in targets if each in complete and self._alive(each)
        )
        if len(keepers) < len(targets) or not keepers:
            return []
        return [
            Release(digest, each, keepers)
            for each in self._here.get(digest, ())
            if each not in targets
        ]

    def _let_go(self, surplus: list[Release]) -> list[Action]:
        """Choose the surplus copies that go: a cache costs nothing else."""
        if self._seen.doubt:
            return []
        by_use = sorted(
            surplus,
            key=lambda each: (
                self._seen.last_used.get(each.digest, 0.0),
                each.digest,
            ),
        )
        return [
            each
            for each in by_use
            if self._must_go(each.location_id)
            or each.digest in self._seen.spare
        ]

    def _must_go(self, location_id: str) -> bool:
        location = self._seen.locations.get(location_id)
        return (
            location_id in self._seen.low
            or location is None
            or location.tier == objects.STAGING
            or location.state != objects.ACTIVE
        )

    def _delete(self, digest: str) -> list[Action]:
        """Remove a deleted template here; the last node forgets it."""
        if self._seen.doubt:
            return []
        here = self._here.get(digest, [])
        recorded = self._seen.copies.get(digest, frozenset())
        actions: list[Action] = [Remove(digest, each) for each in here]
        actions += [
            Forget(digest, each)
            for each in sorted(self._own(recorded) - set(here))
        ]
        if not recorded - self._own(recorded):
            actions.append(ForgetTemplate(digest))
        return actions

    def _strangers(self, known: Set[str]) -> list[Action]:
        """Tell the catalog of copies whose template it has lost."""
        return [
            Adopt(digest, location_id)
            for digest in sorted(self._here.keys() - known)
            for location_id in self._here[digest]
        ]

    def _own(self, location_ids: Set[str]) -> set[str]:
        return {
            each
            for each in location_ids
            if self._node(each) == self._seen.node
        }

    def _alive(self, location_id: str) -> bool:
        location = self._seen.locations.get(location_id)
        return (
            location is not None
            and location.node in self._seen.live
            and location.is_readable
        )

    def _node(self, location_id: str) -> str | None:
        location = self._seen.locations.get(location_id)
        return location.node if location is not None else None
