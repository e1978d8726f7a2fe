# SPDX-License-Identifier: Apache-2.0
"""An agent whose parts are the real ones."""

import json
import pathlib
import threading
import urllib.request

import pytest

from harness.host import Host
from tmpl_glance_store import agent_factory
from tmpl_glance_store import exceptions
from tmpl_glance_store import tls
from tmpl_glance_store.agent import service
from tmpl_glance_store.options import agent as agent_opts

LONG = 30


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


def test_an_agent_lives_shows_its_status_and_ends(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = agent_factory.build_agent(Host(tmp_path).options, options())
    ready = threading.Event()
    monkeypatch.setattr(service.systemd, 'notify', lambda state: ready.set())
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    assert ready.wait(LONG)
    url = agent._identity().api
    with urllib.request.urlopen(f'{url}/v1/status', timeout=LONG) as answer:
        shown = json.load(answer)
    with urllib.request.urlopen(f'{url}/metrics', timeout=LONG) as answer:
        metrics = answer.read().decode()
    agent_factory.reload_agent(agent, options(interval=5))
    agent.stop()
    thread.join(LONG)
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
