# SPDX-License-Identifier: Apache-2.0
"""The plan, as a table: what a node sees, and what it should do then."""

import dataclasses
import time

import pytest

from tmpl_glance_store import objects
from tmpl_glance_store.agent import plan
from tmpl_glance_store.agent.plan import Adopt
from tmpl_glance_store.agent.plan import Fetch
from tmpl_glance_store.agent.plan import Forget
from tmpl_glance_store.agent.plan import ForgetTemplate
from tmpl_glance_store.agent.plan import Move
from tmpl_glance_store.agent.plan import Release
from tmpl_glance_store.agent.plan import Remove
from tmpl_glance_store.placement import all_nodes
from tmpl_glance_store.placement import contract
from tmpl_glance_store.placement import hash_range

T = 'aa' * 32
OTHER = 'bb' * 32
THIRD = 'cc' * 32
ALL_LIVE = frozenset({'n1', 'n2', 'n3', 'n4'})


class InOrder(contract.Policy):
    """Wants the first usable locations in the order of their ids."""

    def __init__(self, locations, copies):
        self._locations = contract.candidates(locations, objects.SSD)
        self._copies = copies

    def targets(self, position, usable=contract.anywhere):
        nodes = {}
        for location in self._locations:
            if usable(location):
                nodes.setdefault(location.node, location)
        return list(nodes.values())[: self._copies]

    def ranges(self):
        return iter(())


def location(name, node, tier=objects.SSD, state=objects.ACTIVE):
    return objects.Location(name, node, tier, f'/srv/{name}', 100.0, state)


def template(digest=T, size=1000, position=0):
    return objects.Template(
        digest, size, position, 'md5', 'sha512', 'hash', 1 << 20, 0.0
    )


def record(digest=T, images=('image',), **fields):
    return objects.TemplateRecord(template(digest), images, **fields)


def deleted(digest=T):
    return record(digest, images=(), deleted_at=1.0)


#: Four nodes with one SSD each; a second disk on n1, and a staging host.
CLUSTER = {
    each.id: each
    for each in (
        location('a1', 'n1'),
        location('a2', 'n1', state=objects.DRAINING),
        location('b', 'n2'),
        location('c', 'n3'),
        location('d', 'n4'),
        location('s', 'glance', objects.STAGING),
    )
}


def plan_of(
    node,
    *,
    templates=None,
    copies=2,
    recorded=None,
    held=None,
    cluster=CLUSTER,
    **seen,
):
    """Return the plan of *node*; *recorded* and *held* are id -> digests."""
    by_digest = {}
    for place, digests in (recorded or {}).items():
        for digest in digests:
            by_digest.setdefault(digest, set()).add(place)
    own = {each.id for each in cluster.values() if each.node == node}
    if held is None:  # the catalog is right
        held = {each: set((recorded or {}).get(each, ())) for each in own}
    observed = plan.Observed(
        node=node,
        templates=[record()] if templates is None else templates,
        locations=cluster,
        copies=by_digest,
        held=held,
        **{'live': ALL_LIVE, **seen},
    )
    locations = list(cluster.values())
    return plan.make(
        observed, InOrder(locations, copies), all_nodes.AllNodes(locations, 1)
    )


def actions(node, **seen):
    return list(plan_of(node, **seen).actions)


# Filling up


def test_a_target_without_a_copy_fetches_it():
    assert actions('n2', recorded={'a1': [T]}) == [Fetch(T, 'b')]


def test_a_target_waits_in_the_plan_until_there_is_a_holder():
    assert actions('n2') == [Fetch(T, 'b')]


def test_a_target_with_a_copy_does_nothing():
    assert actions('n2', recorded={'a1': [T], 'b': [T]}) == []


def test_a_node_that_is_no_target_fetches_nothing():
    assert actions('n3', recorded={'a1': [T]}) == []


def test_what_this_node_has_elsewhere_it_moves():
    assert actions('n1', recorded={'a2': [T]}) == [Move(T, 'a2', 'a1')]


def test_an_upload_moves_from_staging_to_the_disk_of_its_host():
    cluster = {
        each.id: each
        for each in (location('a', 'n1'), location('s', 'n1', objects.STAGING))
    }
    assert actions('n1', cluster=cluster, recorded={'s': [T]}) == [
        Move(T, 's', 'a')
    ]


def test_a_disk_without_room_is_passed_over_by_its_node():
    cluster = {
        each.id: each for each in (location('a1', 'n1'), location('a2', 'n1'))
    }
    assert actions(
        'n1',
        cluster=cluster,
        has_room=lambda where, size: (where.id, size) != ('a1', 1000),
    ) == [Fetch(T, 'a2')]


def test_a_node_without_any_room_fetches_nothing():
    assert actions('n1', has_room=lambda *_: False) == []


def test_a_node_without_room_tells_what_it_should_hold():
    assert plan_of('n1', has_room=lambda *_: False).full == {T}
    assert plan_of('n1').full == set()
    # It would not be a target anyway.
    assert plan_of('n4', has_room=lambda *_: False).full == set()


def test_what_has_room_on_another_disk_of_the_node_is_not_full():
    cluster = {
        each.id: each for each in (location('a1', 'n1'), location('a2', 'n1'))
    }
    assert (
        plan_of(
            'n1',
            cluster=cluster,
            has_room=lambda where, size: where.id != 'a1',
        ).full
        == set()
    )


def test_a_full_node_is_replaced_by_the_next_one():
    full = {'n1': frozenset({T})}
    assert actions('n3', recorded={'b': [T]}) == []
    assert actions('n3', recorded={'b': [T]}, full=full) == [Fetch(T, 'c')]
    # For other templates it counts as before.
    assert (
        actions('n3', recorded={'b': [T]}, full={'n1': frozenset({OTHER})})
        == []
    )


def test_a_copy_on_a_full_disk_stays_wanted_there():
    assert (
        actions(
            'n1',
            recorded={'a1': [T], 'b': [T]},
            low={'a1'},
            has_room=lambda *_: False,
        )
        == []
    )


def test_each_template_is_planned_by_itself():
    assert actions(
        'n2',
        templates=[record(T), record(OTHER), record(THIRD)],
        recorded={'b': [OTHER]},
    ) == [Fetch(T, 'b'), Fetch(THIRD, 'b')]


def test_templates_without_images_are_left_alone():
    orphan = record(images=())
    assert actions('n2', templates=[orphan], recorded={'a1': [T]}) == []
    assert (
        actions(
            'n3',
            templates=[orphan],
            low={'c'},
            recorded={'a1': [T], 'b': [T], 'c': [T]},
        )
        == []
    )


def test_a_pinned_template_goes_to_all_nodes():
    pinned = record(pinned=True)
    assert actions('n4', templates=[pinned], recorded={'a1': [T]}) == [
        Fetch(T, 'd')
    ]
    assert (
        actions(
            'n4',
            templates=[pinned],
            low={'d'},
            recorded={'a1': [T], 'b': [T], 'c': [T], 'd': [T]},
        )
        == []
    )


def test_a_pinned_template_without_images_is_kept_everywhere():
    pinned = record(images=(), pinned=True)
    assert actions('n4', templates=[pinned], recorded={'a1': [T]}) == [
        Fetch(T, 'd')
    ]


# The catalog and the disks


def test_a_copy_that_the_catalog_does_not_know_is_adopted():
    assert actions('n2', held={'b': {T}}, recorded={'a1': [T]}) == [
        Adopt(T, 'b')
    ]


def test_a_copy_that_is_not_on_disk_is_forgotten_and_fetched():
    assert actions(
        'n2', held={'b': set()}, recorded={'a1': [T], 'b': [T]}
    ) == [Forget(T, 'b'), Fetch(T, 'b')]


def test_a_copy_on_a_disk_that_is_away_is_not_known_to_be_held():
    # Whether it is forgotten is decided where it can be seen that the disk
    # is away: by the reconciler.
    assert Forget(T, 'b') in actions(
        'n2', held={}, recorded={'a1': [T], 'b': [T]}
    )


def test_copies_of_other_nodes_are_none_of_our_business():
    assert actions('n2', recorded={'b': [T], 'c': [T], 'd': [T]}) == []


def test_strangers_are_adopted():
    assert actions(
        'n1', templates=[], held={'a1': {OTHER}, 'a2': {T, OTHER}}
    ) == [Adopt(T, 'a2'), Adopt(OTHER, 'a1'), Adopt(OTHER, 'a2')]


def test_a_copy_in_a_location_that_the_catalog_lost_is_adopted():
    assert actions(
        'n2', held={'unknown': {T}}, recorded={'a1': [T], 'b': [T]}
    )[0] == Adopt(T, 'unknown')


# Letting go


SPARED = {'a1': [T], 'b': [T], 'c': [T]}


def test_surplus_stays_as_a_cache_until_its_location_is_low():
    assert actions('n3', recorded=SPARED) == []
    assert actions('n3', recorded=SPARED, low={'c'}) == [
        Release(T, 'c', ('a1', 'b'))
    ]


@pytest.mark.parametrize(
    ('recorded', 'live'),
    [
        ({'a1': [T], 'c': [T]}, ALL_LIVE),
        ({'c': [T]}, ALL_LIVE),
        (SPARED, ALL_LIVE - {'n2'}),
        (SPARED, frozenset({'n3'})),
    ],
)
def test_no_copy_goes_before_all_targets_are_complete_and_live(recorded, live):
    assert actions('n3', recorded=recorded, live=live, low={'c'}) == []


def test_the_last_complete_copy_is_never_released():
    for node, place in ('n3', 'c'), ('n1', 'a2'), ('glance', 's'):
        todo = actions(node, recorded={place: [T]}, low={place})
        assert not any(isinstance(each, Release) for each in todo)


def test_a_copy_is_not_released_where_nothing_is_wanted():
    cluster = {'c': location('c', 'n3', state=objects.DRAINING)}
    assert actions('n3', cluster=cluster, recorded={'c': [T]}, low={'c'}) == []


def test_staging_lets_go_when_all_targets_are_complete():
    everybody = ALL_LIVE | {'glance'}
    assert (
        actions('glance', live=everybody, recorded={'s': [T], 'a1': [T]}) == []
    )
    assert (
        actions(
            'glance',
            live=everybody - {'n2'},
            recorded={'s': [T], 'a1': [T], 'b': [T]},
        )
        == []
    )
    assert actions(
        'glance', live=everybody, recorded={'s': [T], 'a1': [T], 'b': [T]}
    ) == [Release(T, 's', ('a1', 'b'))]


def test_a_draining_location_lets_go_when_all_targets_are_complete():
    assert actions('n1', recorded={'a2': [T], 'b': [T]}) == [
        Move(T, 'a2', 'a1')
    ]
    assert actions('n1', recorded={'a1': [T], 'a2': [T], 'b': [T]}) == [
        Release(T, 'a2', ('a1', 'b'))
    ]


def test_a_drained_node_is_replaced_before_it_lets_go():
    cluster = {**CLUSTER, 'b': location('b', 'n2', state=objects.DRAINING)}
    full = {'a1': [T], 'b': [T]}
    assert actions('n3', cluster=cluster, recorded=full) == [Fetch(T, 'c')]
    assert actions('n2', cluster=cluster, recorded=full) == []
    assert actions('n2', cluster=cluster, recorded={**full, 'c': [T]}) == [
        Release(T, 'b', ('a1', 'c'))
    ]


def test_the_least_recently_used_goes_first():
    both = {'a1': [T, OTHER], 'b': [T, OTHER], 'c': [T, OTHER]}
    templates = [record(T), record(OTHER)]
    for older, newer in (T, OTHER), (OTHER, T):
        todo = actions(
            'n3',
            templates=templates,
            recorded=both,
            low={'c'},
            last_used={older: 1.0, newer: 2.0},
        )
        assert [each.digest for each in todo] == [older, newer]


def test_only_the_location_that_is_low_lets_go():
    cluster = {**CLUSTER, 'c2': location('c2', 'n3')}
    assert actions(
        'n3', cluster=cluster, low={'c2'}, recorded={**SPARED, 'c2': [T]}
    ) == [Release(T, 'c2', ('a1', 'b'))]


def test_a_surplus_copy_that_is_recorded_on_a_full_target_counts():
    # n2 is full, but has the template: nothing is to be fetched elsewhere.
    assert (
        actions('n2', recorded=SPARED, low={'b'}, has_room=lambda *_: False)
        == []
    )


# Nodes that come and go


def test_a_node_that_is_away_for_a_moment_is_not_replaced():
    assert (
        actions('n3', recorded={'a1': [T], 'b': [T]}, live=ALL_LIVE - {'n2'})
        == []
    )


def test_a_node_that_is_gone_is_replaced():
    away = {'live': ALL_LIVE - {'n2'}, 'gone': {'n2'}}
    assert actions('n3', recorded={'a1': [T], 'b': [T]}, **away) == [
        Fetch(T, 'c')
    ]
    assert actions('n4', recorded={'a1': [T], 'b': [T]}, **away) == []


def test_a_node_that_is_back_counts_again_without_a_fetch():
    # n3 has replaced it: a cache now.
    assert actions('n2', recorded=SPARED) == []
    assert actions('n3', recorded=SPARED) == []
    assert actions('n3', recorded=SPARED, low={'c'}) == [
        Release(T, 'c', ('a1', 'b'))
    ]


def test_a_copy_on_a_gone_node_does_not_make_another_superfluous():
    assert (
        actions(
            'n4',
            recorded={'a1': [T], 'b': [T], 'd': [T]},
            live=ALL_LIVE - {'n2'},
            gone={'n2'},
            low={'d'},
        )
        == []
    )


def test_a_new_ssd_moves_only_the_affected_templates():
    before = [location(f'ssd{n}', f'node{n}') for n in range(10)]
    after = [*before, location('new', 'new')]
    templates = [
        dataclasses.replace(
            record(f'{n:064x}'),
            template=template(
                f'{n:064x}', position=n * (objects.SPACE // 500)
            ),
        )
        for n in range(500)
    ]
    layouts = [hash_range.HashRange(each, 2) for each in (before, after)]
    targets = [
        {
            each.template.digest: {
                where.id for where in layout.targets(each.template.position)
            }
            for each in templates
        }
        for layout in layouts
    ]
    affected = {
        digest for digest, wanted in targets[1].items() if 'new' in wanted
    }
    assert 0 < len(affected) < 2 * 2 * 500 / 11
    locations = {each.id: each for each in after}
    live = {each.node for each in after}
    for each in after:
        todo = plan.make(
            plan.Observed(
                node=each.node,
                templates=templates,
                locations=locations,
                copies=targets[0],
                live=live,
                held={
                    each.id: {
                        digest
                        for digest, held in targets[0].items()
                        if each.id in held
                    }
                },
            ),
            layouts[1],
            layouts[1],
        )
        assert todo.actions == (
            tuple(
                Fetch(digest, 'new')
                for digest in targets[0]
                if digest in affected
            )
            if each.id == 'new'
            else ()
        )


# Deleted templates


def test_a_deleted_template_is_removed_wherever_it_is():
    assert actions(
        'n1', templates=[deleted()], recorded={'a1': [T], 'a2': [T], 'b': [T]}
    ) == [Remove(T, 'a1'), Remove(T, 'a2')]


def test_the_last_node_forgets_a_deleted_template():
    assert actions('n2', templates=[deleted()], recorded={'b': [T]}) == [
        Remove(T, 'b'),
        ForgetTemplate(T),
    ]
    assert actions('n2', templates=[deleted()]) == [ForgetTemplate(T)]


def test_nobody_forgets_a_deleted_template_that_a_node_away_has():
    assert actions(
        'n2',
        templates=[deleted()],
        recorded={'b': [T], 'c': [T]},
        live={'n2'},
        gone={'n3'},
    ) == [Remove(T, 'b')]
    assert (
        actions(
            'n2',
            templates=[deleted()],
            recorded={'c': [T]},
            live={'n2'},
            gone={'n3'},
        )
        == []
    )


def test_a_deleted_copy_that_is_gone_already_is_forgotten():
    assert actions(
        'n2', templates=[deleted()], recorded={'b': [T]}, held={'b': set()}
    ) == [Forget(T, 'b'), ForgetTemplate(T)]


def test_a_deleted_copy_that_the_catalog_does_not_know_is_removed():
    assert actions('n2', templates=[deleted()], held={'b': {T}}) == [
        Remove(T, 'b'),
        ForgetTemplate(T),
    ]


def test_a_deleted_template_is_neither_fetched_nor_kept_by_a_pin():
    gone = dataclasses.replace(deleted(), pinned=True)
    assert actions('n2', templates=[gone], recorded={'a1': [T]}) == []


# Seeding


def test_what_others_fetch_is_offered():
    assert plan_of('n1', recorded={'a1': [T]}, fetching={T, OTHER}).seeds == {
        T
    }
    assert plan_of('n1', recorded={'a1': [T]}).seeds == frozenset()


def test_a_surplus_copy_is_offered_too():
    assert plan_of('n4', recorded={'d': [T]}, fetching={T}).seeds == {T}


# The plan as a whole


def test_the_plan_depends_on_nothing_but_what_is_seen():
    seen = {
        'recorded': {'b': [T, OTHER], 'c': [THIRD]},
        'low': {'c'},
        'templates': [record(T), record(OTHER), deleted(THIRD)],
    }
    for node in 'n1', 'n2', 'n3', 'n4', 'glance':
        assert plan_of(node, **seen) == plan_of(node, **seen)


def test_a_cluster_that_follows_its_plans_comes_to_rest():
    recorded = {'s': {T, OTHER}, 'c': {T}}
    templates = [record(T), record(OTHER, pinned=True)]
    nodes = sorted({each.node for each in CLUSTER.values()})
    for _ in range(5):
        todo = [
            each
            for node in nodes
            for each in actions(
                node,
                templates=templates,
                recorded=recorded,
                live=ALL_LIVE | {'glance'},
            )
        ]
        for each in todo:
            if isinstance(each, Fetch):
                recorded.setdefault(each.location_id, set()).add(each.digest)
            elif isinstance(each, Release):
                recorded[each.location_id].remove(each.digest)
            else:
                raise AssertionError(each)
        if not todo:
            break
    assert recorded == {
        's': set(),
        'a1': {T, OTHER},
        'b': {T, OTHER},
        'c': {T, OTHER},
        'd': {OTHER},
    }


def test_a_thousand_templates_on_a_thousand_nodes_are_planned_quickly():
    locations = {
        f'ssd{n}': location(f'ssd{n}', f'node{n}') for n in range(1000)
    }
    layout = hash_range.HashRange(list(locations.values()), 3)
    everywhere = all_nodes.AllNodes(list(locations.values())[:1], 1)
    templates, copies = [], {}
    for n in range(1000):
        digest = f'{n:064x}'
        position = n * (objects.SPACE // 1000)
        templates.append(
            objects.TemplateRecord(
                template(digest, position=position), ('image',)
            )
        )
        copies[digest] = {each.id for each in layout.targets(position)}
    held = {digest for digest, ids in copies.items() if 'ssd0' in ids}
    observed = plan.Observed(
        node='node0',
        templates=templates,
        locations=locations,
        copies=copies,
        held={'ssd0': held},
        live=frozenset(each.node for each in locations.values()),
    )
    start = time.process_time()
    todo = plan.make(observed, layout, everywhere)
    assert time.process_time() - start < 3
    assert todo.actions == ()


# A compute node's own wishes


def test_what_nova_fetches_is_brought_here_as_a_cache():
    assert actions('n4', recorded={'a1': [T]}) == []
    wished = actions('n4', recorded={'a1': [T]}, wished={T})
    assert [type(each) for each in wished] == [Fetch]
    assert CLUSTER[wished[0].location_id].node == 'n4'


def test_a_wish_is_no_reason_to_hold_a_template_twice():
    assert actions('n2', recorded={'a1': [T], 'b': [T]}, wished={T}) == []
    assert actions('n2', recorded={'a1': [T]}, wished={T}) == [Fetch(T, 'b')]


def test_a_wish_without_room_is_none():
    assert (
        actions(
            'n4', recorded={'a1': [T]}, wished={T}, has_room=lambda *_: False
        )
        == []
    )


def test_a_spare_surplus_copy_goes_at_once():
    surplus = {'a1': [T], 'b': [T], 'd': [T]}
    assert actions('n4', recorded=surplus) == []
    assert actions('n4', recorded=surplus, spare={T}) == [
        Release(T, 'd', ('a1', 'b'))
    ]


def test_a_spare_copy_that_is_a_target_stays():
    assert actions('n2', recorded={'a1': [T], 'b': [T]}, spare={T}) == []
