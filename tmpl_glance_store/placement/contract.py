# SPDX-License-Identifier: Apache-2.0
"""The contract of a placement policy.

Policies are found by stevedore in the namespace
``tmpl_glance_store.placement`` and are built from the locations of a cluster.
"""

import abc
from collections.abc import Callable, Iterator, Sequence

from tmpl_glance_store import objects

Usable = Callable[[objects.Location], bool]


def anywhere(_: objects.Location) -> bool:
    """Let every location be used."""
    return True


class Policy(abc.ABC):
    """A rule from (position, locations) to the wanted locations.

    The answer depends on nothing but the arguments: every node of a cluster
    computes the same.

    :param locations: of the whole cluster; those that are not active, and
        staging ones, are never wanted
    :param copies: number of nodes that should hold a template
    """

    @abc.abstractmethod
    def __init__(
        self, locations: Sequence[objects.Location], copies: int
    ) -> None: ...

    @abc.abstractmethod
    def targets(
        self, position: int, usable: Usable = anywhere
    ) -> list[objects.Location]:
        """Return the wanted locations, the most wanted first, one a node.

        :param position: of the template, an unsigned 64-bit integer
        :param usable: False for a location to be passed over: its node is
            gone for long, or it has no room for the template
        """

    @abc.abstractmethod
    def ranges(self) -> Iterator[tuple[int, int, objects.Location]]:
        """Yield (first, last, location) of all hash ranges, in order.

        Empty for a policy that does not place by hash.
        """


def candidates(
    locations: Sequence[objects.Location], *tiers: str
) -> list[objects.Location]:
    """Return the active locations of the given tiers, by id."""
    return sorted(
        (
            location
            for location in locations
            if location.state == objects.ACTIVE and location.tier in tiers
        ),
        key=lambda each: each.id,
    )
