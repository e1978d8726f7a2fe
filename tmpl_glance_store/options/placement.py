# SPDX-License-Identifier: Apache-2.0
"""Which nodes keep a template."""

import dataclasses
from typing import Any

from oslo_config import cfg

from tmpl_glance_store.options import plugins

#: The policy that follows from the cluster's disks.
AUTO = 'auto'
HASH_RANGE = 'hash_range'
ALL_NODES = 'all_nodes'

OPTS = [
    cfg.StrOpt(
        'tmpl_store_placement',
        default=AUTO,
        help="""
Rule that chooses the locations of a template.

``hash_range``: the SSD whose hash range holds the template's hash, and those
that would come next without it, on other nodes. ``all_nodes``: one copy on
every node. The default ``auto`` is ``hash_range`` as soon as the cluster has
one active SSD location, else ``all_nodes``.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_copies',
        default=3,
        min=1,
        help="""
Number of nodes that keep a template under ``hash_range``.

More copies survive more failures and give more nodes a local template; each
costs the template's size. A cluster of fewer nodes keeps one on each.
""",
    ),
]


@dataclasses.dataclass(frozen=True)
class Placement:
    """A policy's name, what it is built with, and its own options.

    :ivar copies: number of nodes that should hold a template
    :ivar brought: reads the options that the policy brings
    """

    name: str
    copies: int
    brought: plugins.Reader = plugins.defaults

    def everywhere(self) -> 'Placement':
        """Return the placement of what goes to all nodes: of the pinned."""
        return dataclasses.replace(self, name=ALL_NODES)


def read(conf: Any, brought: plugins.Reader) -> Placement:
    """Return the placement of the option group *conf*.

    Whether there is such a policy is found when one is built.
    """
    return Placement(
        conf.tmpl_store_placement, conf.tmpl_store_copies, brought
    )
