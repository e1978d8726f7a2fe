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


def make_pass(
    bench: Bench, registry: prometheus_client.CollectorRegistry
) -> passes.Pass:
    return passes.Pass(
        identity=lambda: objects.Node('n2', 'http://n2', 'n2:1', '1'),
        reconciler=bench.reconciler,
        transfers=bench.transfers,
        lease=lease.Lease(
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
    make_pass(bench, prometheus_client.CollectorRegistry())(True)
    assert bench.here.catalog.nodes.live()['n2'].full == (image.digest,)


def test_a_pass_that_fails_announces_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable() -> None:
        raise exceptions.Unavailable('away')

    monkeypatch.setattr(bench.view, 'update', unavailable)
    with pytest.raises(exceptions.Unavailable):
        make_pass(bench, prometheus_client.CollectorRegistry())(True)
    assert 'n2' not in bench.here.catalog.nodes.live()
