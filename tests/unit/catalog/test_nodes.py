# SPDX-License-Identifier: Apache-2.0
"""Nodes, their leases, and what they hold."""

import pytest

from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import announce
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import node
from tests.unit.catalog.support import place
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects


def test_a_node_is_known_as_long_as_its_lease_lives(catalog, rival):
    leases = {}
    for name in ('n1', 'n2'):
        leases[name] = catalog.nodes.grant(60)
        catalog.nodes.announce(node(name), leases[name])
    busy = node('n1', fetching=(A.digest,), full=(B.digest,))
    catalog.nodes.announce(busy, leases['n1'])
    assert rival.nodes.keep_alive(leases['n1'])
    assert list(rival.nodes.live()) == ['n1', 'n2']
    assert rival.nodes.live()['n1'] == busy
    catalog.nodes.revoke(leases['n1'])
    assert list(rival.nodes.live()) == ['n2']
    assert not rival.nodes.keep_alive(leases['n1'])
    with pytest.raises(exceptions.NotFound):
        rival.nodes.announce(busy, leases['n1'])


def test_one_process_at_a_time_lives_under_a_name(catalog, rival):
    lease = catalog.nodes.grant(60)
    catalog.nodes.announce(node('n1', instance='first'), lease)
    second = node('n1', instance='second', api='https://elsewhere:1')
    with pytest.raises(exceptions.Duplicate, match='https://n1:1') as caught:
        rival.nodes.announce(second, rival.nodes.grant(60))
    assert 'tmpl_store_node' in str(caught.value)
    assert rival.nodes.live()['n1'].instance == 'first'
    catalog.nodes.revoke(lease)
    rival.nodes.announce(second, rival.nodes.grant(60))
    with pytest.raises(exceptions.Duplicate, match='https://elsewhere:1'):
        announce(catalog, 'n1', instance='first')
    assert catalog.nodes.live()['n1'] == second


def test_of_two_processes_that_come_at_once_one_lives(catalog, rival):
    before_commit(catalog, lambda: announce(rival, 'n1', instance='faster'))
    with pytest.raises(exceptions.Duplicate):
        announce(catalog, 'n1', instance='slower')
    assert catalog.nodes.live()['n1'].instance == 'faster'


def test_the_holders_are_the_live_nodes_with_a_complete_copy(catalog):
    for name in ('n1', 'n2', 'n3', 'n4'):
        place(catalog, f'{name}/d')
    for name in ('n1', 'n2', 'n3'):
        announce(catalog, name)
    catalog.copies.adopt(A.digest, 'n1/d')
    catalog.copies.intend(A.digest, 'n2/d')
    catalog.copies.adopt(A.digest, 'n4/d')
    catalog.copies.adopt(B.digest, 'n3/d')
    assert catalog.nodes.with_copy(A.digest) == {'n1', 'n4'}
    assert [each.name for each in catalog.nodes.holders(A.digest)] == ['n1']


@pytest.mark.parametrize('health', objects.HEALTH)
def test_a_copy_on_a_disk_that_cannot_be_read_makes_no_holder(catalog, health):
    place(catalog, 'n1/d', health=health)
    announce(catalog, 'n1')
    catalog.copies.adopt(A.digest, 'n1/d')
    serves = health not in (objects.MISSING, objects.REFUSED)
    snapshot = catalog.snapshot()
    assert bool(catalog.nodes.holders(A.digest)) is serves
    assert bool(snapshot.holders(A.digest)) is serves
    assert bool(snapshot.live(A.digest)) is serves
    assert snapshot.complete(A.digest) == {'n1/d'}
