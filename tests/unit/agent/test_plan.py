# SPDX-License-Identifier: Apache-2.0
"""The plan, as a table: what a node sees, and what it should hold then."""

from tests.unit.agent.planning import CLUSTER
from tests.unit.agent.planning import OTHER
from tests.unit.agent.planning import THIRD
from tests.unit.agent.planning import T
from tests.unit.agent.planning import actions
from tests.unit.agent.planning import location
from tests.unit.agent.planning import plan_of
from tests.unit.agent.planning import record
from tmpl_glance_store import objects
from tmpl_glance_store.agent.plan import Adopt
from tmpl_glance_store.agent.plan import Fetch
from tmpl_glance_store.agent.plan import Forget
from tmpl_glance_store.agent.plan import Move
from tmpl_glance_store.agent.plan import Release

# Filling up


def test_a_target_without_a_copy_fetches_it():
    assert actions('n2', recorded={'n1/a1': [T]}) == [Fetch(T, 'n2/b')]


def test_a_target_waits_in_the_plan_until_there_is_a_holder():
    assert actions('n2') == [Fetch(T, 'n2/b')]


def test_a_target_with_a_copy_does_nothing():
    assert actions('n2', recorded={'n1/a1': [T], 'n2/b': [T]}) == []


def test_a_node_that_is_no_target_fetches_nothing():
    assert actions('n3', recorded={'n1/a1': [T]}) == []


def test_what_this_node_has_elsewhere_it_moves():
    assert actions('n1', recorded={'n1/a2': [T]}) == [
        Move(T, 'n1/a2', 'n1/a1')
    ]


def test_an_upload_moves_from_staging_to_the_disk_of_its_host():
    cluster = {
        each.id: each
        for each in (location('n1/a'), location('n1/s', objects.STAGING))
    }
    assert actions('n1', cluster=cluster, recorded={'n1/s': [T]}) == [
        Move(T, 'n1/s', 'n1/a')
    ]


def test_a_disk_without_room_is_passed_over_by_its_node():
    cluster = {
        each.id: each for each in (location('n1/a1'), location('n1/a2'))
    }
    assert actions(
        'n1',
        cluster=cluster,
        has_room=lambda where, size: (where.id, size) != ('n1/a1', 1000),
    ) == [Fetch(T, 'n1/a2')]


def test_a_node_without_any_room_fetches_nothing():
    assert actions('n1', has_room=lambda *_: False) == []


def test_a_node_without_room_tells_what_it_should_hold():
    assert plan_of('n1', has_room=lambda *_: False).full == {T}
    assert plan_of('n1').full == set()
    # It would not be a target anyway.
    assert plan_of('n4', has_room=lambda *_: False).full == set()


def test_what_has_room_on_another_disk_of_the_node_is_not_full():
    cluster = {
        each.id: each for each in (location('n1/a1'), location('n1/a2'))
    }
    assert (
        plan_of(
            'n1',
            cluster=cluster,
            has_room=lambda where, size: where.id != 'n1/a1',
        ).full
        == set()
    )


def test_a_full_node_is_replaced_by_the_next_one():
    full = {'n1': frozenset({T})}
    assert actions('n3', recorded={'n2/b': [T]}) == []
    assert actions('n3', recorded={'n2/b': [T]}, full=full) == [
        Fetch(T, 'n3/c')
    ]
    # For other templates it counts as before.
    assert (
        actions('n3', recorded={'n2/b': [T]}, full={'n1': frozenset({OTHER})})
        == []
    )


def test_a_copy_on_a_full_disk_stays_wanted_there():
    assert (
        actions(
            'n1',
            recorded={'n1/a1': [T], 'n2/b': [T]},
            low={'n1/a1'},
            has_room=lambda *_: False,
        )
        == []
    )


def test_each_template_is_planned_by_itself():
    assert actions(
        'n2',
        templates=[record(T), record(OTHER), record(THIRD)],
        recorded={'n2/b': [OTHER]},
    ) == [Fetch(T, 'n2/b'), Fetch(THIRD, 'n2/b')]


def test_the_order_in_which_templates_are_told_does_not_matter():
    told = [record(T), record(OTHER), record(THIRD)]
    room = {'has_room': lambda where, size: size <= 1000}  # for one
    for templates in told, told[::-1]:
        assert actions('n2', templates=templates, **room) == [Fetch(T, 'n2/b')]


def test_templates_without_images_are_left_alone():
    orphan = record(images=())
    assert actions('n2', templates=[orphan], recorded={'n1/a1': [T]}) == []
    assert (
        actions(
            'n3',
            templates=[orphan],
            low={'n3/c'},
            recorded={'n1/a1': [T], 'n2/b': [T], 'n3/c': [T]},
        )
        == []
    )


def test_a_pinned_template_goes_to_all_nodes():
    pinned = record(pinned=True)
    assert actions('n4', templates=[pinned], recorded={'n1/a1': [T]}) == [
        Fetch(T, 'n4/d')
    ]
    assert (
        actions(
            'n4',
            templates=[pinned],
            low={'n4/d'},
            recorded={'n1/a1': [T], 'n2/b': [T], 'n3/c': [T], 'n4/d': [T]},
        )
        == []
    )


def test_a_pinned_template_without_images_is_kept_everywhere():
    pinned = record(images=(), pinned=True)
    assert actions('n4', templates=[pinned], recorded={'n1/a1': [T]}) == [
        Fetch(T, 'n4/d')
    ]


# The catalog and the disks


def test_a_copy_that_the_catalog_does_not_know_is_adopted():
    assert actions('n2', held={'n2/b': {T}}, recorded={'n1/a1': [T]}) == [
        Adopt(T, 'n2/b')
    ]


def test_a_copy_that_is_not_on_disk_is_forgotten_and_fetched():
    assert actions(
        'n2', held={'n2/b': set()}, recorded={'n1/a1': [T], 'n2/b': [T]}
    ) == [Forget(T, 'n2/b'), Fetch(T, 'n2/b')]


def test_a_copy_on_a_disk_that_is_away_is_not_known_to_be_held():
    # Whether it is forgotten is decided where it can be seen that the disk
    # is away: by the reconciler.
    assert Forget(T, 'n2/b') in actions(
        'n2', held={}, recorded={'n1/a1': [T], 'n2/b': [T]}
    )


def test_copies_of_other_nodes_are_none_of_our_business():
    assert (
        actions('n2', recorded={'n2/b': [T], 'n3/c': [T], 'n4/d': [T]}) == []
    )


def test_strangers_are_adopted():
    assert actions(
        'n1', templates=[], held={'n1/a1': {OTHER}, 'n1/a2': {T, OTHER}}
    ) == [Adopt(T, 'n1/a2'), Adopt(OTHER, 'n1/a1'), Adopt(OTHER, 'n1/a2')]


def test_a_copy_in_a_location_that_the_catalog_lost_is_adopted():
    assert actions(
        'n2', held={'n2/unknown': {T}}, recorded={'n1/a1': [T], 'n2/b': [T]}
    )[0] == Adopt(T, 'n2/unknown')


# A compute node's own wishes


def test_what_nova_fetches_is_brought_here_as_a_cache():
    assert actions('n4', recorded={'n1/a1': [T]}) == []
    wished = actions('n4', recorded={'n1/a1': [T]}, wished={T})
    assert [type(each) for each in wished] == [Fetch]
    assert CLUSTER[wished[0].location_id].node == 'n4'


def test_a_wish_is_no_reason_to_hold_a_template_twice():
    assert (
        actions('n2', recorded={'n1/a1': [T], 'n2/b': [T]}, wished={T}) == []
    )
    assert actions('n2', recorded={'n1/a1': [T]}, wished={T}) == [
        Fetch(T, 'n2/b')
    ]


def test_a_wish_without_room_is_none():
    assert (
        actions(
            'n4',
            recorded={'n1/a1': [T]},
            wished={T},
            has_room=lambda *_: False,
        )
        == []
    )


def test_a_spare_surplus_copy_goes_at_once():
    surplus = {'n1/a1': [T], 'n2/b': [T], 'n4/d': [T]}
    assert actions('n4', recorded=surplus) == []
    assert actions('n4', recorded=surplus, spare={T}) == [
        Release(T, 'n4/d', ('n1/a1', 'n2/b'))
    ]


def test_a_spare_copy_that_is_a_target_stays():
    assert actions('n2', recorded={'n1/a1': [T], 'n2/b': [T]}, spare={T}) == []


# Seeding


def test_what_others_fetch_is_offered():
    assert plan_of(
        'n1', recorded={'n1/a1': [T]}, fetching={T, OTHER}
    ).seeds == {T}
    assert plan_of('n1', recorded={'n1/a1': [T]}).seeds == frozenset()


def test_a_surplus_copy_is_offered_too():
    assert plan_of('n4', recorded={'n4/d': [T]}, fetching={T}).seeds == {T}
