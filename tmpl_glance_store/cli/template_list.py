# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage template list``"""

import argparse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store.cli import base


class TemplateList(base.Lister):
    """List the templates: how complete they are, and who refers to them."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterator[Any]]:
        """Return (columns, rows)."""
        cluster = self.catalog.snapshot()
        policies = {
            pinned: base.policy(self.options, cluster, pinned)
            for pinned in (False, True)
        }

        def rows() -> Iterator[Any]:
            for record in cluster.templates.values():
                template = record.template
                held = cluster.live(template.digest)
                wanted = {
                    each.id
                    for each in policies[record.pinned].targets(
                        template.position
                    )
                }
                yield (
                    template.digest,
                    template.size,
                    template.format,
                    len(record.images),
                    len(wanted & held),
                    len(wanted),
                    len(held - wanted),
                    cluster.condition(template.digest, wanted),
                )

        return (
            (
                'Digest',
                'Size',
                'Format',
                'Images',
                'On Targets',
                'Targets',
                'Surplus',
                'State',
            ),
            rows(),
        )
