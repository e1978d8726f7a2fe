"""``tmpl-manage node list``"""

import argparse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store.cli import base


class NodeList(base.Lister):
    """List the nodes: whether their agents live, and what they fetch."""

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], Iterator[Any]]:
        """Return (columns, rows)."""
        live = self.catalog.nodes()
        locations = self.catalog.locations()
        names = sorted({*live, *(each.node for each in locations)})

        def rows() -> Iterator[Any]:
            for name in names:
                node = live.get(name)
                count = sum(each.node == name for each in locations)
                yield (name, 'live' if node else 'away',
                       node.release if node else '',
                       node.api if node else '', node.swarm if node else '',
                       count, len(node.fetching) if node else 0)
        return (('Node', 'State', 'Release', 'API', 'Swarm', 'Locations',
                 'Fetching'), rows())
