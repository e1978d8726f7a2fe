# SPDX-License-Identifier: Apache-2.0
"""The nodes that a template can come from."""

from tmpl_glance_store import objects
from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store.agent import transfer
from tmpl_glance_store.catalog.snapshot import Snapshot


def sources_of(digest: str, now: Snapshot, node: str) -> list[transfer.Source]:
    """Return the live nodes besides *node* that hold or fetch a template.

    The holders come first; without one there is nothing to fetch from.
    """
    holders = now.holders(digest, besides=node)
    if not holders:
        return []
    fellows = [
        each
        for each in now.fetchers(digest, besides=node)
        if each not in holders
    ]
    return [
        transfer.Source(each.api, peer_of(each))
        for each in (*holders, *fellows)
    ]


def peer_of(node: objects.Node) -> swarm_package.Peer:
    """Return where a node takes peers."""
    host, _, port = node.swarm.rpartition(':')
    return host.strip('[]'), int(port)
