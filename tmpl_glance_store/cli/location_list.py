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
        sizes = {
            record.template.digest: record.template.size
            for record in self.catalog.bindings.templates()
        }
        held: dict[str, list[int]] = {}
        for copy in self.catalog.copies.all():
            if copy.complete:
                held.setdefault(copy.location_id, []).append(
                    sizes.get(copy.digest, 0)
                )
        rows = (
            (
                each.id,
                each.node,
                each.tier,
                each.path,
                each.weight,
                each.state,
                len(held.get(each.id, ())),
                sum(held.get(each.id, ())),
            )
            for each in sorted(
                self.catalog.locations.all(),
                key=lambda each: (each.node, each.path),
            )
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
            ),
            rows,
        )
