# SPDX-License-Identifier: Apache-2.0
"""Where the API may listen; what it does there: functional tests."""

import prometheus_client
import pytest

from tests.unit.agent.http.node import Node
from tmpl_glance_store import exceptions
from tmpl_glance_store import tls
from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent.http import listener


def make_api(node: Node, host: str) -> listener.Listener:
    return listener.Listener(
        node.application,
        host=host,
        port=0,
        context=None,
        metrics=api_metrics.ApiMetrics(prometheus_client.CollectorRegistry()),
    )


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.0.2.1', '2001:db8::1'])
def test_without_tls_only_loopback_is_listened_on(
    node: Node, host: str
) -> None:
    with pytest.raises(exceptions.BadConfiguration) as refusal:
        make_api(node, host)
    for option in tls.OPTIONS:
        assert option in str(refusal.value)


@pytest.mark.parametrize('host', ['127.0.0.1', '127.0.0.3', '::1'])
def test_loopback_needs_no_tls(node: Node, host: str) -> None:
    assert make_api(node, host).address[0] == host


def test_a_host_that_is_none_is_refused(node: Node) -> None:
    with pytest.raises(exceptions.BadConfiguration, match='bad host'):
        make_api(node, 'bad host')
