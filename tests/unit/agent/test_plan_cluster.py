# SPDX-License-Identifier: Apache-2.0
"""The plans of many nodes: they come, they go, and they come to rest."""

import time

from tests import facts
from tests.unit.agent.planning import ALL_LIVE
from tests.unit.agent.planning import CLUSTER
from tests.unit.agent.planning import OTHER
from tests.unit.agent.planning import SPARED
from tests.unit.agent.planning import THIRD
from tests.unit.agent.planning import T
from tests.unit.agent.planning import actions
from tests.unit.agent.planning import deleted
from tests.unit.agent.planning import location
from tests.unit.agent.planning import plan_of
from tests.unit.agent.planning import record
from tmpl_glance_store import objects
from tmpl_glance_store.agent import plan
from tmpl_glance_store.agent.plan import Fetch
from tmpl_glance_store.agent.plan import Release
from tmpl_glance_store.placement import all_nodes
from tmpl_glance_store.placement import hash_range


def records(count):
    """Return *count* templates, evenly spread over the positions."""
    templates = (
        facts.template(str(n), position=n * (objects.SPACE // count))
        for n in range(count)
    )
    return [
        objects.TemplateRecord(each, ('image',))
        for each in sorted(templates, key=lambda each: each.digest)
    ]


# Nodes that come and go


def test_a_node_that_is_away_for_a_moment_is_not_replaced():
    assert (
        actions(
            'n3', recorded={'n1/a1': [T], 'n2/b': [T]}, live=ALL_LIVE - {'n2'}
        )
        == []
    )


def test_a_node_that_is_gone_is_replaced():
    away = {'live': ALL_LIVE - {'n2'}, 'gone': {'n2'}}
    assert actions('n3', recorded={'n1/a1': [T], 'n2/b': [T]}, **away) == [
        Fetch(T, 'n3/c')
    ]
    assert actions('n4', recorded={'n1/a1': [T], 'n2/b': [T]}, **away) == []


def test_a_node_that_is_back_counts_again_without_a_fetch():
    # n3 has replaced it: a cache now.
    assert actions('n2', recorded=SPARED) == []
    assert actions('n3', recorded=SPARED) == []
    assert actions('n3', recorded=SPARED, low={'n3/c'}) == [
        Release(T, 'n3/c', ('n1/a1', 'n2/b'))
    ]


def test_a_copy_on_a_gone_node_does_not_make_another_superfluous():
    assert (
        actions(
            'n4',
            recorded={'n1/a1': [T], 'n2/b': [T], 'n4/d': [T]},
            live=ALL_LIVE - {'n2'},
            gone={'n2'},
            low={'n4/d'},
        )
        == []
    )


def test_a_new_ssd_moves_only_the_affected_templates():
    before = [location(f'node{n}/ssd') for n in range(10)]
    after = [*before, location('new/ssd')]
    templates = records(500)
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
        digest for digest, wanted in targets[1].items() if 'new/ssd' in wanted
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
                Fetch(digest, 'new/ssd')
                for digest in targets[0]
                if digest in affected
            )
            if each.id == 'new/ssd'
            else ()
        )


# The plan as a whole


def test_the_plan_depends_on_nothing_but_what_is_seen():
    seen = {
        'recorded': {'n2/b': [T, OTHER], 'n3/c': [THIRD]},
        'low': {'n3/c'},
        'templates': [record(T), record(OTHER), deleted(THIRD)],
    }
    for node in 'n1', 'n2', 'n3', 'n4', 'glance':
        assert plan_of(node, **seen) == plan_of(node, **seen)


def test_a_cluster_that_follows_its_plans_comes_to_rest():
    recorded = {'glance/s': {T, OTHER}, 'n3/c': {T}}
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
        'glance/s': set(),
        'n1/a1': {T, OTHER},
        'n2/b': {T, OTHER},
        'n3/c': {T, OTHER},
        'n4/d': {OTHER},
    }


def test_a_thousand_templates_on_a_thousand_nodes_are_planned_quickly():
    locations = {
        each.id: each
        for each in (location(f'node{n}/ssd') for n in range(1000))
    }
    layout = hash_range.HashRange(list(locations.values()), 3)
    everywhere = all_nodes.AllNodes(list(locations.values())[:1], 1)
    templates = records(1000)
    copies = {
        each.template.digest: {
            where.id for where in layout.targets(each.template.position)
        }
        for each in templates
    }
    held = {digest for digest, ids in copies.items() if 'node0/ssd' in ids}
    observed = plan.Observed(
        node='node0',
        templates=templates,
        locations=locations,
        copies=copies,
        held={'node0/ssd': held},
        live=frozenset(each.node for each in locations.values()),
    )
    start = time.process_time()
    todo = plan.make(observed, layout, everywhere)
    assert time.process_time() - start < 3
    assert todo.actions == ()
