# SPDX-License-Identifier: Apache-2.0
"""S2 of the patent: one copy on every node, on its best disk."""

from collections.abc import Iterator, Sequence

from tmpl_glance_store import objects
from tmpl_glance_store.placement import contract
from tmpl_glance_store.placement import hash_range


class _OnNode(hash_range.HashRange):
    """Spreads the templates of one node over its disks of one tier."""

    def __init__(
        self, locations: Sequence[objects.Location], tier: str
    ) -> None:
        self.tiers = (tier,)
        super().__init__(locations, copies=1)


class AllNodes(contract.Policy):
    """A copy on each node that has an active location."""

    def __init__(
        self, locations: Sequence[objects.Location], copies: int
    ) -> None:
        by_node: dict[str, list[objects.Location]] = {}
        for location in contract.candidates(
            locations, objects.SSD, objects.HDD
        ):
            by_node.setdefault(location.node, []).append(location)
        self._nodes = [
            [
                _OnNode(by_node[node], tier)
                for tier in (objects.SSD, objects.HDD)
            ]
            for node in sorted(by_node)
        ]

    def targets(
        self, position: int, usable: contract.Usable = contract.anywhere
    ) -> list[objects.Location]:
        """See the contract: an SSD if one is usable, else another disk."""
        result = []
        for tiers in self._nodes:
            best = [
                location
                for policy in tiers
                for location in policy.targets(position, usable)
            ]
            result += best[:1]
        return result

    def ranges(self) -> Iterator[tuple[int, int, objects.Location]]:
        """See the contract: nothing is placed by hash among the nodes."""
        return iter(())
