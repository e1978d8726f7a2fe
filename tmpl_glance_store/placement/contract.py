# SPDX-License-Identifier: Apache-2.0
"""The contract of a placement policy.

Policies are found by stevedore in the namespace
``tmpl_glance_store.placement`` and are built from the locations of a cluster.
Every policy passes ``tests/contract/policy.py``.

A policy may bring options of its own: it lists them in ``OPTIONS``, under
names that begin with ``tmpl_store_``. They are registered in the group of the
store as soon as the policy is built, and what follows that prefix is the
keyword argument as which the constructor is given the value::

    class Racks(contract.Policy):
        OPTIONS = (cfg.IntOpt('tmpl_store_racks', default=2, help=...),)

        def __init__(self, locations, copies, *, racks): ...

A value that oslo.config refuses stops the start, with the option's name. All
nodes of a cluster need the same values, as they need the same policy. To have
the options in a sample configuration, list them in an entry point
``oslo.config.opts`` of the package.
"""

import abc
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from oslo_config import cfg

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
    :cvar OPTIONS: the options that the policy brings; their values are
        keyword arguments of the constructor, see above
    """

    OPTIONS: ClassVar[Sequence[cfg.Opt]] = ()

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
