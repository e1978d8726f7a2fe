# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage node drain``"""

import argparse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store.cli import base


class NodeDrain(base.NodeCommand):
    """Let the copies of a node move to others, and give it no new ones.

    It goes on in the background: ``node list`` shows the placement of the
    node as ``draining``, and as ``drained`` when it has no copies any more.
    Its agent has to run meanwhile.
    """

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterator[Any]]:
        """Return (columns, rows)."""
        return self.show(self.catalog.locations.drain(parsed_args.node))
