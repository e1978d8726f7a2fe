# SPDX-License-Identifier: Apache-2.0
"""The nodes that a template can come from."""

from tmpl_glance_store import objects
from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store.agent import transfer
from tmpl_glance_store.catalog.snapshot import Snapshot


def sources_of(digest: str, now: Snapshot, node: str) -> list[transfer.Source]:
    """Return the other live nodes that hold or fetch a template.

    The holders come first; without one there is nothing to fetch from.
    """
    holders = holders_of(digest, now, node)
    if not holders:
        return []
    fellows = [
        each for each in fetchers(digest, now, node) if each not in holders
    ]
    return [
        transfer.Source(each.api, peer_of(each))
        for each in (*holders, *fellows)
    ]


def holders_of(digest: str, now: Snapshot, node: str) -> list[objects.Node]:
    """Return the other live nodes with a complete copy, by name."""
    complete = {
        now.locations[each.location_id].node
        for each in now.copies.get(digest, {}).values()
        if each.complete and each.location_id in now.locations
    }
    return [
        each
        for name, each in sorted(now.nodes.items())
        if name in complete and name != node
    ]


def fetchers(digest: str, now: Snapshot, node: str) -> list[objects.Node]:
    """Return the other live nodes that fetch a template, by name."""
    return [
        each
        for name, each in sorted(now.nodes.items())
        if digest in each.fetching and name != node
    ]


def peer_of(node: objects.Node) -> swarm_package.Peer:
    """Return where a node takes peers."""
    host, _, port = node.swarm.rpartition(':')
    return host.strip('[]'), int(port)
