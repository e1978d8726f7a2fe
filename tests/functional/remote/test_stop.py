# SPDX-License-Identifier: Apache-2.0
"""The listener ends, and begins again."""

import time

import prometheus_client
import pytest

from tests.functional.remote.nodes import LONG
from tests.functional.remote.nodes import Node
from tests.functional.remote.nodes import Stored
from tests.functional.remote.nodes import is_cut
from tests.functional.remote.nodes import slow_reader
from tmpl_glance_store import exceptions
from tmpl_glance_store import tls
from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent.http import listener


@pytest.mark.parametrize('secure', [False, True])
def test_stop_does_not_wait_for_clients(
    large: Stored, files: tls.Files, secure: bool
) -> None:
    chosen = files if secure else None
    node = Node(
        large.root, files=chosen, threads=2, timeout=LONG, send_timeout=LONG
    )
    with node, node.connect() as idle, node.connect() as dripping:
        dripping.sendall(b'GET / HTTP/1.1\r\n')
        with slow_reader(node, large, chosen) as sock:
            begin = time.monotonic()
            node.api.stop()
            assert time.monotonic() - begin < LONG / 6
            for each in idle, dripping, sock:
                assert is_cut(each)
    with pytest.raises(ConnectionError):
        node.connect()


def test_what_stopped_can_listen_there_again(stored: Stored) -> None:
    with Node(stored.root) as node:
        assert node.ask() == 200
        port = node.api.address[1]
    again = listener.Listener(
        lambda environ, respond: [],
        host='127.0.0.1',
        port=port,
        context=None,
        metrics=api_metrics.ApiMetrics(prometheus_client.CollectorRegistry()),
    )
    again.start()
    assert again.address == ('127.0.0.1', port)
    again.stop()


def test_an_address_in_use_is_refused(stored: Stored, node: Node) -> None:
    other = listener.Listener(
        lambda environ, respond: [],
        host='127.0.0.1',
        port=node.api.address[1],
        context=None,
        metrics=api_metrics.ApiMetrics(prometheus_client.CollectorRegistry()),
    )
    with pytest.raises(exceptions.BadConfiguration, match='cannot listen'):
        other.start()
    other.stop()
