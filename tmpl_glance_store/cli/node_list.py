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
        cluster = self.catalog.snapshot()
        names = sorted(
            {*cluster.nodes}
            | {each.node for each in cluster.locations.values()}
        )

        def rows() -> Iterator[Any]:
            for name in names:
                node = cluster.nodes.get(name)
                own = cluster.locations_of(name)
                held = sum(
                    1 for each in own for _ in cluster.copies_in(each.id)
                )
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
