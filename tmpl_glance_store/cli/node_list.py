# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage node list``"""

import argparse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store import objects
from tmpl_glance_store.cli import base


class NodeList(base.Lister):
    """List the nodes: whether their agents live, and what they fetch."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterator[Any]]:
        """Return (columns, rows)."""
        live = self.catalog.nodes.live()
        locations = self.catalog.locations.all()
        copies: dict[str, int] = {}
        for copy in self.catalog.copies.all():
            copies[copy.location_id] = copies.get(copy.location_id, 0) + 1
        names = sorted({*live, *(each.node for each in locations)})

        def rows() -> Iterator[Any]:
            for name in names:
                node = live.get(name)
                own = [each for each in locations if each.node == name]
                held = sum(copies.get(each.id, 0) for each in own)
                yield (
                    name,
                    'live' if node else 'away',
                    _placement(own, held),
                    node.release if node else '',
                    node.api if node else '',
                    node.swarm if node else '',
                    len(own),
                    held,
                    len(node.fetching) if node else 0,
                )

        return (
            (
                'Node',
                'State',
                'Placement',
                'Release',
                'API',
                'Swarm',
                'Locations',
                'Copies',
                'Fetching',
            ),
            rows(),
        )


def _placement(locations: list[objects.Location], held: int) -> str:
    """Return whether a node takes copies, gives them away, or has done so.

    :param held: its copies, complete or not
    """
    states = {each.state for each in locations}
    if objects.ACTIVE in states:
        return 'active'
    if objects.DRAINING in states:
        return 'draining' if held else 'drained'
    return 'none'
