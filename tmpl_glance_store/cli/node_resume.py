# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage node resume``"""

import argparse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store.cli import base


class NodeResume(base.NodeCommand):
    """Let a node that was drained take copies again."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterator[Any]]:
        """Return (columns, rows)."""
        return self.show(self.catalog.locations.resume(parsed_args.node))
