# SPDX-License-Identifier: Apache-2.0
"""The life of an agent: what begins, and what ends in which order."""

from typing import Any

import pytest

from tmpl_glance_store import objects
from tmpl_glance_store.agent import loop
from tmpl_glance_store.agent import service
from tmpl_glance_store.agent import systemd


class Part:
    """Anything that takes calls, and tells them."""

    def __init__(self, name: str, told: list[str]) -> None:
        self._name = name
        self._told = told

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: object) -> None:
            self._told.append(f'{self._name}.{method}')

        return call


class Bench:
    """A service of parts that tell what they are asked to do."""

    def __init__(self, *, nova: bool = True) -> None:
        self.told: list[str] = []
        self.parts = {
            name: Part(name, self.told)
            for name in (
                'api',
                'lease',
                'watch',
                'scrubber',
                'transfers',
                'swarm',
                'image_cache',
            )
        }
        if not nova:
            self.parts['image_cache'] = None
        self.loop = loop.Loop(
            make_pass=self._pass,
            on_failure=lambda: None,
            interval=60,
            wake=loop.Wake(),
        )
        self.service = service.Service(
            identity=lambda: objects.Node('n1', 'http://api', 'swarm', '1'),
            loop=self.loop,
            **self.parts,
        )

    def _pass(self, refresh: bool) -> None:
        self.told.append('pass')
        self.service.stop()


@pytest.fixture(autouse=True)
def notified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemd was told."""
    told: list[str] = []
    monkeypatch.setattr(systemd, 'notify', told.append)
    return told


def test_a_service_listens_first_and_takes_leave_in_order(
    notified: list[str],
) -> None:
    bench = Bench()
    bench.service.run()
    assert bench.told[0] == 'api.start'
    background = {'lease.keep', 'watch.run', 'scrubber.run'}
    assert background <= set(bench.told)
    ends = bench.told[bench.told.index('pass') + 1 :]
    ends = [each for each in ends if each not in {*background, 'lease.end'}]
    assert ends == [
        'scrubber.stop',
        'image_cache.close',
        'transfers.close',
        'swarm.close',
        'api.stop',
    ]
    assert 'lease.end' in bench.told
    assert notified == [systemd.READY, systemd.STOPPING]


def test_others_find_the_name_and_the_addresses_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level('INFO')
    Bench().service.run()
    assert 'Node n1 serves http://api and swarm' in caplog.text


def test_a_node_without_nova_ends_as_well() -> None:
    bench = Bench(nova=False)
    bench.service.run()
    assert bench.told[-1] in ('api.stop', 'lease.end')


def test_a_catalog_that_hangs_does_not_keep_the_agent_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    waited: list[float] = []

    class Farewell:
        def __init__(self, **_: object) -> None:
            pass

        def start(self) -> None:
            """Never end."""

        def join(self, seconds: float) -> None:
            waited.append(seconds)

    monkeypatch.setattr(service.threading, 'Thread', Farewell)
    bench.service.run()
    assert waited == [2]
    assert 'lease.end' not in bench.told


def test_what_may_change_while_it_runs_is_passed_on() -> None:
    bench = Bench()
    bench.service.reload(
        upload_limit=1,
        download_limit=2,
        scrub_rate=3,
        scrub_period=4.0,
        interval=5.0,
    )
    assert bench.told == ['swarm.set_limits']
    scrubber = bench.parts['scrubber']
    assert (scrubber.rate, scrubber.period) == (3, 4.0)
    assert bench.loop._interval == 5.0
