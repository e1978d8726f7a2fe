# SPDX-License-Identifier: Apache-2.0
"""The plans of many nodes: they come, they go, and they come to rest."""

import dataclasses
import time

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
from tests.unit.agent.planning import template
from tmpl_glance_store import objects
from tmpl_glance_store.agent import plan
from tmpl_glance_store.agent.plan import Fetch
from tmpl_glance_store.agent.plan import Release
from tmpl_glance_store.placement import all_nodes
from tmpl_glance_store.placement import hash_range

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
