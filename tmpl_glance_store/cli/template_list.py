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
        policies = {
            pinned: base.policy(self.options, self.catalog, pinned)
            for pinned in (False, True)
        }
        complete: dict[str, set[str]] = {}
        for copy in self.catalog.copies.all():
            if copy.complete:
                complete.setdefault(copy.digest, set()).add(copy.location_id)

        def rows() -> Iterator[Any]:
            for record in self.catalog.bindings.templates():
                template = record.template
                held = complete.get(template.digest, set())
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
                    'deleted'
                    if record.deleted_at
                    else 'complete'
                    if wanted <= held
                    else 'filling',
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
