# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage template show``"""

import argparse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store.catalog import snapshot as catalog_snapshot
from tmpl_glance_store.cli import base


class TemplateShow(base.ShowOne):
    """Show a template: where it should be, where it is, and how far."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'template', help='image id, digest, or the beginning of a digest'
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return (names, values)."""
        cluster = self.catalog.snapshot()
        record = base.template_of(cluster, parsed_args.template)
        template = record.template
        targets = base.policy(self.options, cluster, record.pinned).targets(
            template.position
        )
        return (
            (
                'digest',
                'size',
                'format',
                'position',
                'checksum',
                template.hashing_algo,
                'created_at',
                'deleted_at',
                'pinned',
                'images',
                'targets',
                'copies',
                'fetching',
            ),
            (
                template.digest,
                template.size,
                template.format,
                f'{template.position:016x}',
                template.checksum,
                template.multihash,
                base.moment(template.created_at),
                base.moment(record.deleted_at),
                record.pinned,
                list(record.images),
                [f'{each.node}:{each.path}' for each in targets],
                list(_copies(cluster, template.digest)),
                [each.name for each in cluster.fetchers(template.digest)],
            ),
        )


def _copies(
    cluster: catalog_snapshot.Snapshot, digest: str
) -> Iterator[dict[str, Any]]:
    for copy in cluster.copies.get(digest, {}).values():
        location = cluster.locations.get(copy.location_id)
        yield {
            'location': copy.location_id,
            'node': location.node if location else None,
            'path': location.path if location else None,
            'complete': copy.complete,
            'proved_at': base.moment(copy.verified_at),
            'published': list(copy.published),
            'refused': copy.refused,
        }
