# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage template pin``"""

import argparse
from typing import Any

from tmpl_glance_store.cli import base


class TemplatePin(base.PinCommand):
    """Let a template go to all nodes, whatever the placement policy."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return (names, values)."""
        return self.pin(parsed_args.template, True)
