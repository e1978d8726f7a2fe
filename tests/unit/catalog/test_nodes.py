# SPDX-License-Identifier: Apache-2.0
"""Nodes, their leases, and what they hold."""

import pytest

from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects


def test_a_node_is_known_as_long_as_its_lease_lives(catalog, rival):
    leases = {}
    for name in ('n1', 'n2'):
        leases[name] = catalog.nodes.grant(60)
        catalog.nodes.announce(
            objects.Node(name, 'https://h', 'h:1', '1.0'), leases[name]
        )
    busy = objects.Node('n1', 'https://h', 'h:1', '1.0', (A.digest,))
    catalog.nodes.announce(busy, leases['n1'])
    assert rival.nodes.keep_alive(leases['n1'])
    assert list(rival.nodes.live()) == ['n1', 'n2']
    assert rival.nodes.live()['n1'] == busy
    catalog.nodes.revoke(leases['n1'])
    assert list(rival.nodes.live()) == ['n2']
    assert not rival.nodes.keep_alive(leases['n1'])
    with pytest.raises(exceptions.NotFound):
        rival.nodes.announce(busy, leases['n1'])


def test_the_holders_are_the_live_nodes_with_a_complete_copy(catalog):
    for node in ('n1', 'n2', 'n3', 'n4'):
        catalog.locations.put(
            objects.Location(f'on-{node}', node, 'ssd', '/x', 1.0)
        )
    for node in ('n1', 'n2', 'n3'):
        catalog.nodes.announce(
            objects.Node(node, 'https://h', 'h:1', '1.0'),
            catalog.nodes.grant(60),
        )
    catalog.copies.adopt(A, 'on-n1')
    catalog.copies.intend(A.digest, 'on-n2')
    catalog.copies.adopt(A, 'on-n4')
    catalog.copies.adopt(B, 'on-n3')
    assert catalog.nodes.with_copy(A.digest) == {'n1', 'n4'}
    assert [node.name for node in catalog.nodes.holders(A.digest)] == ['n1']
