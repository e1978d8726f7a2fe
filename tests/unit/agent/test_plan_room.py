# SPDX-License-Identifier: Apache-2.0
"""The plan of a node whose disks have room for some of the templates only."""

import dataclasses

from tests.unit.agent.planning import CLUSTER
from tests.unit.agent.planning import OTHER
from tests.unit.agent.planning import THIRD
from tests.unit.agent.planning import T
from tests.unit.agent.planning import actions
from tests.unit.agent.planning import deleted
from tests.unit.agent.planning import location
from tests.unit.agent.planning import plan_of
from tests.unit.agent.planning import record
from tmpl_glance_store import objects
from tmpl_glance_store.agent.plan import Fetch
from tmpl_glance_store.agent.plan import ForgetTemplate
from tmpl_glance_store.agent.plan import Release

ALL = [record(T), record(OTHER), record(THIRD)]  # 1000 bytes each


def room(size):
    return lambda where, needed: needed <= size


# What is to come takes room too


def test_fetches_of_one_plan_share_the_room():
    assert actions('n2', templates=ALL, has_room=room(2000)) == [
        Fetch(T, 'n2/b'),
        Fetch(OTHER, 'n2/b'),
    ]


def test_wishes_of_one_plan_share_the_room():
    assert actions(
        'n4', templates=ALL, wished={T, OTHER, THIRD}, has_room=room(2000)
    ) == [Fetch(T, 'n4/d'), Fetch(OTHER, 'n4/d')]


def test_what_has_arrived_needs_no_room_again():
    half = {('n2/b', T): 400}
    assert actions('n2', arrived=half, has_room=room(600)) == [
        Fetch(T, 'n2/b')
    ]
    assert actions('n2', arrived=half, has_room=room(599)) == []


def test_what_has_arrived_leaves_its_room_to_others():
    for node, place, wished in (
        ('n2', 'n2/b', set()),
        ('n4', 'n4/d', {T, OTHER}),
    ):
        assert actions(
            node,
            templates=[record(T), record(OTHER)],
            wished=wished,
            arrived={(place, T): 400},
            has_room=room(1600),
        ) == [Fetch(T, place), Fetch(OTHER, place)]


def test_what_has_arrived_whole_needs_no_room():
    for arrived in 1000, 1001:
        assert actions(
            'n2', arrived={('n2/b', T): arrived}, has_room=room(0)
        ) == [Fetch(T, 'n2/b')]


def test_what_has_begun_to_arrive_comes_before_what_has_not():
    assert actions(
        'n2',
        templates=ALL,
        arrived={('n2/b', OTHER): 1},
        has_room=room(1000),
    ) == [Fetch(OTHER, 'n2/b')]


# A node without room


def test_a_node_without_room_still_counts_on_the_room_of_others():
    assert actions(
        'n4',
        recorded={'n1/a1': [T], 'n2/b': [T], 'n4/d': [T]},
        low={'n4/d'},
        has_room=lambda *_: False,
    ) == [Release(T, 'n4/d', ('n1/a1', 'n2/b'))]


def test_a_node_without_room_tells_what_falls_to_it_from_nodes_that_are_gone():
    assert plan_of(
        'n4', gone={'n1', 'n2'}, has_room=lambda *_: False
    ).full == {T}


# Where a wish goes


def test_a_wish_for_what_is_here_as_a_cache_fetches_nothing():
    held = {'n1/a1': [T], 'n2/b': [T], 'n4/d': [T]}
    assert actions('n4', recorded=held, wished={T}) == []


def test_a_wish_goes_to_an_ssd_then_to_the_largest_disk():
    small = location('n4/a')
    large = dataclasses.replace(location('n4/b'), weight=200.0)
    slow = dataclasses.replace(location('n4/c', objects.HDD), weight=900.0)
    shown = {
        each.id: each
        for each in (
            *(CLUSTER['n1/a1'], CLUSTER['n2/b']),
            *(small, large, slow),
        )
    }
    order = []
    for _ in range(3):
        [fetch] = actions(
            'n4',
            cluster=shown,
            recorded={'n1/a1': [T], 'n2/b': [T]},
            wished={T},
            has_room=lambda where, size: where.id not in order,
        )
        order.append(fetch.location_id)
    assert order == ['n4/b', 'n4/a', 'n4/c']


# Several templates, and places that the catalog does not know


def test_deleted_templates_stand_in_no_other_templates_way():
    assert actions(
        'n2', templates=[record(T), deleted(OTHER), record(THIRD)]
    ) == [Fetch(T, 'n2/b'), ForgetTemplate(OTHER), Fetch(THIRD, 'n2/b')]


def test_what_was_never_used_goes_first():
    surplus = {place: [T, OTHER] for place in ('n1/a1', 'n2/b', 'n4/d')}
    released = actions(
        'n4',
        templates=[record(T), record(OTHER)],
        recorded=surplus,
        low={'n4/d'},
        last_used={T: 0.5},
    )
    assert [each.digest for each in released] == [OTHER, T]


def test_a_copy_in_a_location_that_the_catalog_lost_belongs_to_nobody():
    assert actions('n2', recorded={'n9/x': [T]}) == [Fetch(T, 'n2/b')]
