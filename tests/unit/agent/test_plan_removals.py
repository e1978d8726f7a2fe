# SPDX-License-Identifier: Apache-2.0
"""The plan, as a table: what a node lets go."""

import dataclasses

import pytest

from tests.unit.agent.planning import ALL_LIVE
from tests.unit.agent.planning import CLUSTER
from tests.unit.agent.planning import OTHER
from tests.unit.agent.planning import SPARED
from tests.unit.agent.planning import T
from tests.unit.agent.planning import actions
from tests.unit.agent.planning import deleted
from tests.unit.agent.planning import location
from tests.unit.agent.planning import record
from tmpl_glance_store import objects
from tmpl_glance_store.agent.plan import Fetch
from tmpl_glance_store.agent.plan import Forget
from tmpl_glance_store.agent.plan import ForgetTemplate
from tmpl_glance_store.agent.plan import Move
from tmpl_glance_store.agent.plan import Release
from tmpl_glance_store.agent.plan import Remove

# Letting go


def test_surplus_stays_as_a_cache_until_its_location_is_low():
    assert actions('n3', recorded=SPARED) == []
    assert actions('n3', recorded=SPARED, low={'n3/c'}) == [
        Release(T, 'n3/c', ('n1/a1', 'n2/b'))
    ]


@pytest.mark.parametrize(
    ('recorded', 'live'),
    [
        ({'n1/a1': [T], 'n3/c': [T]}, ALL_LIVE),
        ({'n3/c': [T]}, ALL_LIVE),
        (SPARED, ALL_LIVE - {'n2'}),
        (SPARED, frozenset({'n3'})),
    ],
)
def test_no_copy_goes_before_all_targets_are_complete_and_live(recorded, live):
    assert actions('n3', recorded=recorded, live=live, low={'n3/c'}) == []


def test_the_last_complete_copy_is_never_released():
    for node, place in ('n3', 'n3/c'), ('n1', 'n1/a2'), ('glance', 'glance/s'):
        todo = actions(node, recorded={place: [T]}, low={place})
        assert not any(isinstance(each, Release) for each in todo)


def test_a_copy_is_not_released_where_nothing_is_wanted():
    cluster = {'n3/c': location('n3/c', state=objects.DRAINING)}
    assert (
        actions('n3', cluster=cluster, recorded={'n3/c': [T]}, low={'n3/c'})
        == []
    )


def test_staging_lets_go_when_all_targets_are_complete():
    everybody = ALL_LIVE | {'glance'}
    assert (
        actions(
            'glance', live=everybody, recorded={'glance/s': [T], 'n1/a1': [T]}
        )
        == []
    )
    assert (
        actions(
            'glance',
            live=everybody - {'n2'},
            recorded={'glance/s': [T], 'n1/a1': [T], 'n2/b': [T]},
        )
        == []
    )
    assert actions(
        'glance',
        live=everybody,
        recorded={'glance/s': [T], 'n1/a1': [T], 'n2/b': [T]},
    ) == [Release(T, 'glance/s', ('n1/a1', 'n2/b'))]


def test_a_draining_location_lets_go_when_all_targets_are_complete():
    assert actions('n1', recorded={'n1/a2': [T], 'n2/b': [T]}) == [
        Move(T, 'n1/a2', 'n1/a1')
    ]
    assert actions(
        'n1', recorded={'n1/a1': [T], 'n1/a2': [T], 'n2/b': [T]}
    ) == [Release(T, 'n1/a2', ('n1/a1', 'n2/b'))]


def test_a_drained_node_is_replaced_before_it_lets_go():
    cluster = {**CLUSTER, 'n2/b': location('n2/b', state=objects.DRAINING)}
    full = {'n1/a1': [T], 'n2/b': [T]}
    assert actions('n3', cluster=cluster, recorded=full) == [Fetch(T, 'n3/c')]
    assert actions('n2', cluster=cluster, recorded=full) == []
    assert actions('n2', cluster=cluster, recorded={**full, 'n3/c': [T]}) == [
        Release(T, 'n2/b', ('n1/a1', 'n3/c'))
    ]


def test_the_least_recently_used_goes_first():
    both = {'n1/a1': [T, OTHER], 'n2/b': [T, OTHER], 'n3/c': [T, OTHER]}
    templates = [record(T), record(OTHER)]
    for older, newer in (T, OTHER), (OTHER, T):
        todo = actions(
            'n3',
            templates=templates,
            recorded=both,
            low={'n3/c'},
            last_used={older: 1.0, newer: 2.0},
        )
        assert [each.digest for each in todo] == [older, newer]


def test_only_the_location_that_is_low_lets_go():
    cluster = {**CLUSTER, 'n3/c2': location('n3/c2')}
    assert actions(
        'n3', cluster=cluster, low={'n3/c2'}, recorded={**SPARED, 'n3/c2': [T]}
    ) == [Release(T, 'n3/c2', ('n1/a1', 'n2/b'))]


def test_a_surplus_copy_that_is_recorded_on_a_full_target_counts():
    # n2 is full, but has the template: nothing is to be fetched elsewhere.
    assert (
        actions('n2', recorded=SPARED, low={'n2/b'}, has_room=lambda *_: False)
        == []
    )


# Deleted templates


def test_a_deleted_template_is_removed_wherever_it_is():
    assert actions(
        'n1',
        templates=[deleted()],
        recorded={'n1/a1': [T], 'n1/a2': [T], 'n2/b': [T]},
    ) == [Remove(T, 'n1/a1'), Remove(T, 'n1/a2')]


def test_the_last_node_forgets_a_deleted_template():
    assert actions('n2', templates=[deleted()], recorded={'n2/b': [T]}) == [
        Remove(T, 'n2/b'),
        ForgetTemplate(T),
    ]
    assert actions('n2', templates=[deleted()]) == [ForgetTemplate(T)]


def test_nobody_forgets_a_deleted_template_that_a_node_away_has():
    assert actions(
        'n2',
        templates=[deleted()],
        recorded={'n2/b': [T], 'n3/c': [T]},
        live={'n2'},
        gone={'n3'},
    ) == [Remove(T, 'n2/b')]
    assert (
        actions(
            'n2',
            templates=[deleted()],
            recorded={'n3/c': [T]},
            live={'n2'},
            gone={'n3'},
        )
        == []
    )


def test_a_deleted_copy_that_is_gone_already_is_forgotten():
    assert actions(
        'n2',
        templates=[deleted()],
        recorded={'n2/b': [T]},
        held={'n2/b': set()},
    ) == [Forget(T, 'n2/b'), ForgetTemplate(T)]


def test_a_deleted_copy_that_the_catalog_does_not_know_is_removed():
    assert actions('n2', templates=[deleted()], held={'n2/b': {T}}) == [
        Remove(T, 'n2/b'),
        ForgetTemplate(T),
    ]


def test_a_deleted_template_is_neither_fetched_nor_kept_by_a_pin():
    gone = dataclasses.replace(deleted(), pinned=True)
    assert actions('n2', templates=[gone], recorded={'n1/a1': [T]}) == []
