# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage catalog accept``"""

import argparse
from typing import Any

from tmpl_glance_store.cli import base


class CatalogAccept(base.ShowOne):
    """Let all hosts rely on the catalog as it is now.

    After this, what it says is deleted is removed from the disks: look at
    ``catalog check`` and ``template list`` before. It needs a user of etcd who
    may write all of the cluster's keys, as Glance's may.
    """

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return (names, values)."""
        accepted = self.catalog.history.accept()
        seen = self.catalog.history.look()
        return (
            ('store', 'revision', 'epoch'),
            (seen.identity, seen.revision, accepted.epoch),
        )
