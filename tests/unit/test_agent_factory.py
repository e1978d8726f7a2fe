# SPDX-License-Identifier: Apache-2.0
"""An agent whose parts are the real ones."""

import contextlib
import json
import pathlib
import threading
import urllib.request
from collections.abc import Iterator

import pytest

from harness.host import Host
from tmpl_glance_store import agent_factory
from tmpl_glance_store import exceptions
from tmpl_glance_store import tls
from tmpl_glance_store.agent import service
from tmpl_glance_store.options import agent as agent_opts

LONG = 8  # seconds: less than a test may take


def options(**changed: object) -> agent_opts.AgentOptions:
    fields = {
        'host': '127.0.0.1',
        'api_port': 0,
        'swarm_port': 0,
        'upload_limit': 0,
        'download_limit': 0,
        'transfers': 2,
        'lease': 30,
        'rebuild_delay': 60,
        'interval': 60,
        'scrub_rate': 0,
        'scrub_period': 60,
    }
    return agent_opts.AgentOptions(**{**fields, **changed})


@contextlib.contextmanager
def running(agent: service.Service) -> Iterator[threading.Thread]:
    """Run *agent*, and end it whatever happens.

    If the process ends before it, libtorrent's threads abort that.
    """
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        agent.stop()
        thread.join(LONG)


def test_an_agent_lives_shows_its_status_and_ends(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = agent_factory.build_agent(Host(tmp_path).options, options())
    ready = threading.Event()
    monkeypatch.setattr(service.systemd, 'notify', lambda state: ready.set())
    with running(agent) as thread:
        assert ready.wait(LONG)
        url = agent._identity().api
        with urllib.request.urlopen(f'{url}/v1/status', timeout=LONG) as reply:
            shown = json.load(reply)
        with urllib.request.urlopen(f'{url}/metrics', timeout=LONG) as reply:
            metrics = reply.read().decode()
        agent_factory.reload_agent(agent, options(interval=5))
    assert not thread.is_alive()
    assert (shown['node'], shown['images']) == ('node1', [])
    assert 'tmpl_agent_passes_total' in metrics
    assert 'tmpl_swarm_sent_bytes_total' in metrics


def test_an_agent_off_loopback_needs_tls(tmp_path: pathlib.Path) -> None:
    with pytest.raises(exceptions.BadConfiguration) as refusal:
        agent_factory.build_agent(
            Host(tmp_path).options, options(host='0.0.0.0')
        )
    assert tls.OPTIONS[0] in str(refusal.value)
