# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage template unpin``"""

import argparse
from typing import Any

from tmpl_glance_store.cli import base


class TemplateUnpin(base.PinCommand):
    """Let a template go where the placement policy says again.

    Copies on other nodes stay as a cache.
    """

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return (names, values)."""
        return self.pin(parsed_args.template, False)
