# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage layout show``"""

import argparse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.cli import base


class LayoutShow(base.Lister):
    """Show the hash ranges, and in which of them an image or hash falls."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'name',
            nargs='?',
            help='image id, digest (or its beginning), or '
            '0x and a position: show its targets',
        )
        parser.add_argument(
            '--ranges',
            action='store_true',
            help='show every range, not the shares',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterator[Any]]:
        """Return (columns, rows)."""
        if parsed_args.name:
            return self._targets(self._position(parsed_args.name))
        if parsed_args.ranges:
            return self._ranges()
        return self._shares()

    def _position(self, name: str) -> int:
        if name.startswith('0x'):
            position = int(name, 16)
            if not 0 <= position < objects.SPACE:
                raise exceptions.Invalid(f'{name} has more than 64 bits')
            return position
        record = self.catalog.bindings.template(
            base.digest_of(self.catalog, name)
        )
        if record is None:
            raise exceptions.NotFound(f'the catalog has lost {name}')
        return record.template.position

    def _targets(self, position: int) -> tuple[tuple[str, ...], Iterator[Any]]:
        targets = base.policy(self.options, self.catalog).targets(position)
        return (
            ('Rank', 'Position', 'Node', 'Tier', 'Path', 'Location'),
            (
                (
                    rank,
                    f'{position:016x}',
                    each.node,
                    each.tier,
                    each.path,
                    each.id,
                )
                for rank, each in enumerate(targets, 1)
            ),
        )

    def _ranges(self) -> tuple[tuple[str, ...], Iterator[Any]]:
        ranges = base.policy(self.options, self.catalog).ranges()
        return (
            ('First', 'Last', 'Node', 'Path', 'Location'),
            (
                (
                    f'{first:016x}',
                    f'{last:016x}',
                    each.node,
                    each.path,
                    each.id,
                )
                for first, last, each in ranges
            ),
        )

    def _shares(self) -> tuple[tuple[str, ...], Iterator[Any]]:
        sizes: dict[str, list[int]] = {}
        for first, last, each in base.policy(
            self.options, self.catalog
        ).ranges():
            sizes.setdefault(each.id, []).append(last - first + 1)
        rows = (
            (
                each.node,
                each.path,
                each.weight,
                round(100 * sum(sizes[each.id]) / objects.SPACE, 2),
                len(sizes[each.id]),
                each.id,
            )
            for each in self.catalog.locations.all()
            if each.id in sizes
        )
        return (
            ('Node', 'Path', 'Weight GiB', 'Share %', 'Ranges', 'Location'),
            rows,
        )
