# SPDX-License-Identifier: Apache-2.0
"""How long other nodes have been away."""

from tests.unit.agent.virtual import Clock
from tmpl_glance_store import objects
from tmpl_glance_store.agent import absences
from tmpl_glance_store.catalog.snapshot import Snapshot

DELAY = 100.0


def cluster(*live: str) -> Snapshot:
    return Snapshot(
        {},
        {
            f'{name}/disk': objects.Location(
                f'{name}/disk', name, 'ssd', '/srv', 1.0
            )
            for name in ('n1', 'n2', 'n3')
        },
        {},
        {name: objects.Node(name, 'http://', 'x:1', '1') for name in live},
    )


def test_a_node_is_gone_when_the_delay_is_over_and_back_at_once() -> None:
    clock = Clock()
    away = absences.Absences(node='n1', delay=DELAY, clock=clock)
    away.note(cluster('n1', 'n2'))
    assert (away.gone(), away.next_change()) == (frozenset(), DELAY)
    clock.now += DELAY - 1
    away.note(cluster('n1', 'n2'))
    assert (away.gone(), away.next_change()) == (frozenset(), 1)
    clock.now += 1
    assert (away.gone(), away.next_change()) == ({'n3'}, None)
    away.note(cluster('n1', 'n2', 'n3'))
    assert (away.gone(), away.next_change()) == (frozenset(), None)


def test_a_node_that_goes_again_is_waited_for_anew() -> None:
    clock = Clock()
    away = absences.Absences(node='n1', delay=DELAY, clock=clock)
    for live in ('n1', 'n2'), ('n1', 'n2', 'n3'), ('n1', 'n2'):
        away.note(cluster(*live))
        clock.now += DELAY - 1
    assert away.gone() == frozenset()


def test_this_node_is_never_away() -> None:
    away = absences.Absences(node='n1', delay=0, clock=Clock())
    away.note(cluster('n2', 'n3'))
    assert away.gone() == frozenset()
