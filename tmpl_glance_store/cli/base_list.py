# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage base list``"""

import argparse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store.agent import status
from tmpl_glance_store.cli import base
from tmpl_glance_store.remote import templates as remote_templates


class BaseList(base.Lister):
    """List the base files in Nova's image caches, and the instances on them.

    Asks the agents: of a node that does not answer it shows why.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--node',
            action='append',
            metavar='NAME',
            help='only of this one (repeatable)',
        )
        parser.add_argument('--image', metavar='ID', help='only of this one')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterator[Any]]:
        """Return (columns, rows)."""
        live = self.catalog.nodes.live()
        remote = factory.build_remote(self.options)
        for name in parsed_args.node or ():
            if name not in live:
                raise exceptions.NotFound(
                    f'no agent of a node {name} lives; see node list'
                )
        return (
            (
                'Node',
                'Image',
                'Template',
                'State',
                'Mode',
                'Raw',
                'Boots Wait',
                'Instances',
                'Reason',
            ),
            (
                row
                for name in sorted(parsed_args.node or live)
                for row in _rows(remote, name, live[name].api)
                if parsed_args.image in (None, row[1])
            ),
        )


def _rows(
    remote: remote_templates.RemoteTemplates, node: str, url: str
) -> Iterator[tuple[Any, ...]]:
    try:
        images = status.Status.from_raw(remote.status(url)).images
    except (exceptions.Unavailable, ValueError) as exc:
        yield node, None, None, 'unknown', None, None, None, [], str(exc)
        return
    for each in images:
        yield (
            node,
            each.image,
            each.digest,
            each.state,
            each.mode,
            each.converted,
            each.boots_wait,
            list(each.instances),
            each.reason,
        )
