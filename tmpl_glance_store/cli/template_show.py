# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage template show``"""

import argparse
from typing import Any

from tmpl_glance_store import exceptions
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
        digest = base.digest_of(self.catalog, parsed_args.template)
        record = self.catalog.bindings.template(digest)
        if record is None:
            raise exceptions.NotFound(f'the catalog has lost {digest}')
        template = record.template
        locations = {each.id: each for each in self.catalog.locations.all()}
        targets = base.policy(
            self.options, self.catalog, record.pinned
        ).targets(template.position)
        copies = [
            {
                'location': copy.location_id,
                'node': getattr(locations.get(copy.location_id), 'node', None),
                'path': getattr(locations.get(copy.location_id), 'path', None),
                'complete': copy.complete,
                'proved_at': base.moment(copy.verified_at),
                'published': list(copy.published),
                'refused': copy.refused,
            }
            for copy in self.catalog.copies.of(digest)
        ]
        fetching = sorted(
            name
            for name, node in self.catalog.nodes.live().items()
            if digest in node.fetching
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
                digest,
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
                copies,
                fetching,
            ),
        )
