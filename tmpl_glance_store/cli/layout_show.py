# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage layout show``"""

import argparse
from collections.abc import Iterator
from typing import Any, TypeAlias

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import snapshot as catalog_snapshot
from tmpl_glance_store.cli import base
from tmpl_glance_store.placement import contract as placement

_Table: TypeAlias = tuple[tuple[str, ...], Iterator[Any]]


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
        cluster = self.catalog.snapshot()
        policy = base.policy(self.options, cluster)
        if parsed_args.name:
            position = _position(cluster, parsed_args.name)
            return _targets(policy, position)
        if parsed_args.ranges:
            return _ranges(policy)
        return _shares(policy, cluster)


def _position(cluster: catalog_snapshot.Snapshot, name: str) -> int:
    if not name.startswith('0x'):
        return base.template_of(cluster, name).template.position
    position = int(name, 16)
    if not 0 <= position < objects.SPACE:
        raise exceptions.Invalid(f'{name} has more than 64 bits')
    return position


def _targets(policy: placement.Policy, position: int) -> _Table:
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
            for rank, each in enumerate(policy.targets(position), 1)
        ),
    )


def _ranges(policy: placement.Policy) -> _Table:
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
            for first, last, each in policy.ranges()
        ),
    )


def _shares(
    policy: placement.Policy, cluster: catalog_snapshot.Snapshot
) -> _Table:
    sizes: dict[str, list[int]] = {}
    for first, last, each in policy.ranges():
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
        for each in cluster.locations.values()
        if each.id in sizes
    )
    return (
        ('Node', 'Path', 'Weight GiB', 'Share %', 'Ranges', 'Location'),
        rows,
    )
