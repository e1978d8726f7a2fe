# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage catalog check``"""

import argparse
from typing import Any

from tmpl_glance_store.cli import base


class CatalogCheck(base.ShowOne):
    """Show which catalog this is, whether it is relied on, and what is bad.

    A catalog that was replaced, emptied or restored from a backup is read and
    added to, but nothing is removed on its word until it is accepted.
    """

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return (names, values)."""
        seen = self.catalog.history.look()
        doubt = self.catalog.history.check()
        cluster = self.catalog.snapshot()
        return (
            (
                'catalog',
                'store',
                'revision',
                'epoch',
                'relied_on',
                'doubt',
                'bad',
            ),
            (
                seen.catalog,
                seen.identity,
                seen.revision,
                seen.epoch,
                not doubt,
                doubt,
                [f'{key}: {why}' for key, why in sorted(cluster.bad.items())],
            ),
        )
