# SPDX-License-Identifier: Apache-2.0
"""What an agent counts."""

import prometheus_client
import pytest

from tmpl_glance_store import imagecache
from tmpl_glance_store.agent import metrics
from tmpl_glance_store.agent import plan

DIGEST = 'ab' * 32


@pytest.fixture
def registry() -> prometheus_client.CollectorRegistry:
    return prometheus_client.CollectorRegistry()


def test_a_pass_counts_its_actions(
    registry: prometheus_client.CollectorRegistry,
) -> None:
    counted = metrics.AgentMetrics(registry, lambda: 3)
    counted.passed(
        plan.Plan(
            (plan.Fetch(DIGEST, 'a'), plan.Fetch(DIGEST, 'b')), frozenset()
        )
    )
    value = registry.get_sample_value
    assert value('tmpl_agent_passes_total') == 1
    assert value('tmpl_agent_actions_total', {'action': 'Fetch'}) == 2
    assert value('tmpl_agent_transfers') == 3


def test_the_swarm_is_asked_when_somebody_looks(
    registry: prometheus_client.CollectorRegistry,
) -> None:
    traffic = [(0, 0), (5, 7)]
    metrics.SwarmMetrics(registry, lambda: traffic[-1])
    assert registry.get_sample_value('tmpl_swarm_received_bytes_total') == 5
    assert registry.get_sample_value('tmpl_swarm_sent_bytes_total') == 7


def test_images_are_counted_by_state_and_problems_told_with_their_reason(
    registry: prometheus_client.CollectorRegistry,
) -> None:
    metrics.ImageCacheMetrics(
        registry,
        lambda: [
            imagecache.State('i1', DIGEST, 'published'),
            imagecache.State('i2', DIGEST, 'published'),
            imagecache.State('i3', DIGEST, 'refused', 'no room'),
        ],
    )
    value = registry.get_sample_value
    assert value('tmpl_agent_base_files', {'state': 'published'}) == 2
    assert value('tmpl_agent_base_files', {'state': 'waiting'}) == 0
    problem = {
        'image': 'i3',
        'template': DIGEST,
        'state': 'refused',
        'reason': 'no room',
    }
    assert value('tmpl_agent_unpublished', problem) == 1
    assert (
        value(
            'tmpl_agent_unpublished',
            {**problem, 'image': 'i1', 'state': 'published', 'reason': ''},
        )
        is None
    )
