# SPDX-License-Identifier: Apache-2.0
"""What the cluster learns of a pass."""

import prometheus_client
import pytest

from harness.host import add
from tests.unit.agent.bench import DATA
from tests.unit.agent.bench import Bench
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.agent import lease
from tmpl_glance_store.agent import metrics
from tmpl_glance_store.agent import passes
from tmpl_glance_store.agent import plan

NODE = objects.Node('n2', 'http://n2', 'n2:1', '1', instance='this')


def make_pass(
    bench: Bench,
    registry: prometheus_client.CollectorRegistry | None = None,
    held: lease.Lease | None = None,
) -> passes.Pass:
    registry = registry or prometheus_client.CollectorRegistry()
    return passes.Pass(
        identity=lambda: NODE,
        reconciler=bench.reconciler,
        transfers=bench.transfers,
        lease=held
        or lease.Lease(
            catalog=bench.here.catalog, ttl=60, on_loss=lambda: None
        ),
        metrics=metrics.AgentMetrics(registry, lambda: 0),
    )


def test_a_pass_announces_what_the_node_fetches(bench: Bench) -> None:
    registry = prometheus_client.CollectorRegistry()
    bench.swarm.delivers = False
    image = add(bench.there, DATA)
    assert make_pass(bench, registry)(True) == 2
    assert bench.here.catalog.nodes.live()['n2'].fetching == (image.digest,)
    assert registry.get_sample_value('tmpl_agent_passes_total') == 1
    bench.transfers.close()


def test_a_pass_announces_what_the_node_has_no_room_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for location in bench.here.store.locations:
        monkeypatch.setattr(location, 'has_room', lambda size: size == 0)
    image = add(bench.there, DATA)
    make_pass(bench)(True)
    assert bench.here.catalog.nodes.live()['n2'].full == (image.digest,)


def test_a_pass_that_fails_announces_no_more_than_that_the_node_lives(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable() -> None:
        raise exceptions.Unavailable('away')

    bench.swarm.delivers = False
    image = add(bench.there, DATA)
    monkeypatch.setattr(bench.view, 'update', unavailable)
    with pytest.raises(exceptions.Unavailable):
        make_pass(bench)(True)
    assert bench.here.catalog.nodes.live()['n2'] == NODE
    monkeypatch.undo()
    make_pass(bench)(True)
    assert bench.here.catalog.nodes.live()['n2'].fetching == (image.digest,)
    bench.transfers.close()


def test_a_node_is_announced_before_its_first_pass_does_anything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    reconcile = bench.reconciler.run

    def noting(refresh: bool) -> plan.Plan:
        seen.append(bench.here.catalog.nodes.live().get('n2'))
        return reconcile(refresh)

    monkeypatch.setattr(bench.reconciler, 'run', noting)
    make_pass(bench)(True)
    assert seen == [NODE]


def test_a_node_whose_lease_was_lost_is_announced_before_it_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lease.Lease(
        catalog=bench.here.catalog, ttl=60, on_loss=lambda: None
    )
    make = make_pass(bench, held=held)
    make(True)
    bench.here.catalog.nodes.revoke(held._lease)
    held.renew()
    bench.announce('n2', instance='another')
    monkeypatch.setattr(bench.reconciler, 'run', no_pass)
    with pytest.raises(exceptions.Duplicate):
        make(True)


def test_no_pass_is_made_while_another_instance_lives(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(bench.there, DATA)
    another = bench.announce('n2', instance='another')
    make = make_pass(bench)
    with monkeypatch.context() as patch:
        patch.setattr(bench.reconciler, 'run', no_pass)
        for _ in range(2):
            with pytest.raises(exceptions.Duplicate, match='n2, at http://n2'):
                make(True)
    assert bench.here.catalog.nodes.live()['n2'].instance == 'another'
    assert bench.swarm.fetched == []
    bench.here.catalog.nodes.revoke(another)
    make(True)
    bench.transfers.close()
    assert bench.here.catalog.nodes.live()['n2'].instance == 'this'
    assert bench.swarm.fetched == [image.digest]


def no_pass(refresh: bool) -> plan.Plan:
    """Be a reconciler that must not be asked."""
    raise AssertionError('a pass was made')
