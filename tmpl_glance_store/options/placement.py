# SPDX-License-Identifier: Apache-2.0
"""Which nodes keep a template."""

from oslo_config import cfg

#: The policy that follows from the cluster's disks.
AUTO = 'auto'

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
