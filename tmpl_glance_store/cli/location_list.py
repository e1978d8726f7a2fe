# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage location list``"""

import argparse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store.cli import base


class LocationList(base.Lister):
    """List the locations: their tier, weight, state, and copies."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterator[Any]]:
        """Return (columns, rows)."""
        cluster = self.catalog.snapshot()
        sizes = {
            digest: record.template.size
            for digest, record in cluster.templates.items()
        }

        def rows() -> Iterator[Any]:
            for each in sorted(
                cluster.locations.values(),
                key=lambda each: (each.node, each.path),
            ):
                held = [
                    sizes.get(copy.digest, 0)
                    for copy in cluster.copies_in(each.id)
                    if copy.complete
                ]
                yield (
                    each.id,
                    each.node,
                    each.tier,
                    each.path,
                    each.weight,
                    each.state,
                    len(held),
                    sum(held),
                    each.health,
                    each.reason,
                )

        return (
            (
                'Location',
                'Node',
                'Tier',
                'Path',
                'Weight GiB',
                'State',
                'Copies',
                'Bytes',
                'Health',
                'Reason',
            ),
            rows(),
        )
