# SPDX-License-Identifier: Apache-2.0
"""The node's lease: announced once, renewed in time, and given back."""

import dataclasses
import pathlib

import pytest

from harness.host import Host
from tests.unit.agent.virtual import Clock
from tests.unit.agent.virtual import Event
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.agent import lease as agent_lease

TTL = 30
NODE = objects.Node('n1', 'http://n1', '127.0.0.1:1', '1')


class Bench:
    """A lease in a real catalog, and how often it was lost."""

    def __init__(self, host: Host) -> None:
        self.catalog = host.parts().catalog
        self.losses = 0
        self.lease = agent_lease.Lease(
            catalog=self.catalog, ttl=TTL, on_loss=self._lost
        )

    def _lost(self) -> None:
        self.losses += 1

    def expire(self) -> None:
        """Let the lease end behind the agent's back."""
        self.catalog.nodes.revoke(self.lease._lease)


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Bench:
    return Bench(Host(tmp_path))


def unavailable(*_: object) -> None:
    raise exceptions.Unavailable('the catalog is away')


def test_a_node_that_announces_itself_lives(bench: Bench) -> None:
    bench.lease.announce(NODE)
    assert bench.catalog.nodes.live() == {'n1': NODE}


def test_what_is_announced_already_is_not_written_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.lease.announce(NODE)
    monkeypatch.setattr(
        bench.catalog.nodes, 'announce', lambda *_: pytest.fail('written')
    )
    bench.lease.announce(NODE)


def test_a_lease_that_has_expired_is_noticed_by_its_renewal(
    bench: Bench,
) -> None:
    bench.lease.announce(NODE)
    bench.expire()
    bench.lease.renew()
    assert bench.losses == 1
    bench.lease.announce(NODE)
    assert bench.catalog.nodes.live() == {'n1': NODE}


def test_a_lease_that_has_expired_is_noticed_by_an_announcement(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.lease.announce(NODE)
    changed = objects.Node('n1', 'http://other', '127.0.0.1:1', '1')

    def gone(*_: object) -> None:
        raise exceptions.NotFound('no such lease')

    with monkeypatch.context() as patch:
        patch.setattr(bench.catalog.nodes, 'announce', gone)
        bench.lease.announce(changed)
    assert bench.losses == 1
    bench.lease.announce(changed)
    assert bench.catalog.nodes.live() == {'n1': changed}


def test_it_is_renewed_three_times_in_its_life_until_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = []
    monkeypatch.setattr(
        bench.catalog.nodes,
        'keep_alive',
        lambda lease: renewed.append(lease) or 1,
    )
    bench.lease.announce(NODE)
    stopped = Event(Clock(), at_most=4)
    bench.lease.keep(stopped)
    assert stopped.waits == [TTL / 3] * 4
    assert len(renewed) == 3
    assert bench.losses == 0


def test_a_catalog_that_is_away_does_not_end_the_lease(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.lease.announce(NODE)
    with monkeypatch.context() as patch:
        patch.setattr(bench.catalog.nodes, 'keep_alive', unavailable)
        bench.lease.renew()
    assert bench.losses == 0
    bench.lease.renew()
    assert bench.losses == 0


def test_nothing_is_renewed_or_revoked_before_it_is_announced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in 'keep_alive', 'revoke':
        monkeypatch.setattr(bench.catalog.nodes, name, unavailable)
    bench.lease.renew()
    bench.lease.end()
    assert bench.losses == 0


def test_a_node_that_ends_lives_no_more(bench: Bench) -> None:
    bench.lease.announce(NODE)
    bench.lease.end()
    assert bench.catalog.nodes.live() == {}


def test_the_end_does_not_depend_on_the_catalog(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.lease.announce(NODE)
    monkeypatch.setattr(bench.catalog.nodes, 'revoke', unavailable)
    bench.lease.end()


def test_it_is_held_from_the_announcement_to_the_loss(bench: Bench) -> None:
    assert not bench.lease.is_held
    bench.lease.announce(NODE)
    assert bench.lease.is_held
    bench.expire()
    assert bench.lease.is_held  # nobody has noticed yet
    bench.lease.renew()
    assert not bench.lease.is_held
    bench.lease.announce(NODE)
    assert bench.lease.is_held


def test_it_is_not_held_while_another_instance_lives(bench: Bench) -> None:
    other = dataclasses.replace(NODE, instance='another')
    lease = bench.catalog.nodes.grant(TTL)
    bench.catalog.nodes.announce(other, lease)
    for _ in range(2):
        with pytest.raises(exceptions.Duplicate, match='node n1, at http'):
            bench.lease.announce(NODE)
        assert not bench.lease.is_held
    assert bench.catalog.nodes.live() == {'n1': other}
    bench.catalog.nodes.revoke(lease)
    bench.lease.announce(NODE)
    assert bench.lease.is_held
    assert bench.catalog.nodes.live() == {'n1': NODE}


def test_it_is_not_held_while_the_announcement_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.catalog.nodes, 'announce', unavailable)
    with pytest.raises(exceptions.Unavailable):
        bench.lease.announce(NODE)
    assert not bench.lease.is_held
