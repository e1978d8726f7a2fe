# SPDX-License-Identifier: Apache-2.0
"""What an agent counts, for Prometheus."""

from collections.abc import Callable, Iterable, Iterator

import prometheus_client
from prometheus_client import core

from tmpl_glance_store import imagecache
from tmpl_glance_store.agent import plan


class ApiMetrics:
    """Counters of the agent's API.

    :param registry: where they are registered, once a registry
    """

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self.requests = prometheus_client.Counter(
            'tmpl_api_requests',
            'Requests answered.',
            ('endpoint', 'code'),
            registry=registry,
        )
        self.sent = prometheus_client.Counter(
            'tmpl_api_sent_bytes',
            'Template bytes sent to other nodes.',
            registry=registry,
        )
        self.streams = prometheus_client.Gauge(
            'tmpl_api_streams',
            'Reads of template bytes in progress.',
            registry=registry,
        )
        self.connections = prometheus_client.Gauge(
            'tmpl_api_connections', 'Connections open.', registry=registry
        )
        self.refused = prometheus_client.Counter(
            'tmpl_api_refused',
            'Connections refused or cut, and requests that were forbidden.',
            ('reason',),
            registry=registry,
        )


class SwarmMetrics:
    """The bytes that templates were on the network for.

    :param registry: where it is registered, once a registry
    :param traffic: returns template bytes (received, sent)
    """

    def __init__(
        self,
        registry: prometheus_client.CollectorRegistry,
        traffic: Callable[[], tuple[int, int]],
    ) -> None:
        self._traffic = traffic
        registry.register(self)

    def collect(self) -> Iterator[core.CounterMetricFamily]:
        """Yield the counters."""
        received, sent = self._traffic()
        yield core.CounterMetricFamily(
            'tmpl_swarm_received_bytes',
            'Template bytes from other nodes.',
            received,
        )
        yield core.CounterMetricFamily(
            'tmpl_swarm_sent_bytes', 'Template bytes to other nodes.', sent
        )


class ImageCacheMetrics:
    """What became of images in Nova's image cache.

    :param registry: where it is registered, once a registry
    :param images: returns them as they are now
    """

    def __init__(
        self,
        registry: prometheus_client.CollectorRegistry,
        images: Callable[[], Iterable[imagecache.State]],
    ) -> None:
        self._images = images
        registry.register(self)

    def collect(self) -> Iterator[core.GaugeMetricFamily]:
        """Yield the numbers, and the reasons of what needs an operator."""
        images = list(self._images())
        counted = core.GaugeMetricFamily(
            'tmpl_agent_base_files',
            'Images of templates here, by what '
            'became of them in the image cache of Nova.',
            labels=['state'],
        )
        for state in imagecache.STATES:
            counted.add_metric(
                [state], sum(each.state == state for each in images)
            )
        yield counted
        problems = core.GaugeMetricFamily(
            'tmpl_agent_unpublished',
            'Images that are not published, or should not be used any more.',
            labels=['image', 'template', 'state', 'reason'],
        )
        for each in images:
            if each.state in imagecache.PROBLEMS:
                problems.add_metric(
                    [each.image_id, each.digest, each.state, each.reason], 1
                )
        yield problems


class AgentMetrics:
    """Counters of the reconcile loop and of the scrubber.

    :param transfers: returns how many fetches are in progress
    """

    def __init__(
        self,
        registry: prometheus_client.CollectorRegistry,
        transfers: Callable[[], int],
    ) -> None:
        self.passes = prometheus_client.Counter(
            'tmpl_agent_passes', 'Reconcile passes made.', registry=registry
        )
        self.failed_passes = prometheus_client.Counter(
            'tmpl_agent_failed_passes',
            'Reconcile passes that failed.',
            registry=registry,
        )
        self.actions = prometheus_client.Counter(
            'tmpl_agent_actions',
            'Actions planned.',
            ('action',),
            registry=registry,
        )
        self.scrubbed = prometheus_client.Counter(
            'tmpl_agent_scrubbed_bytes',
            'Bytes of copies proved again.',
            registry=registry,
        )
        self.quarantined = prometheus_client.Counter(
            'tmpl_agent_quarantined',
            'Copies that failed their proof.',
            registry=registry,
        )
        running = prometheus_client.Gauge(
            'tmpl_agent_transfers', 'Fetches in progress.', registry=registry
        )
        running.set_function(transfers)

    def passed(self, todo: plan.Plan) -> None:
        """Count a pass and what it did."""
        self.passes.inc()
        for action in todo.actions:
            self.actions.labels(type(action).__name__).inc()
