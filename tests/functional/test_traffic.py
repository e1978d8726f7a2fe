# SPDX-License-Identifier: Apache-2.0
"""What an agent asks of a real etcd: counted there, not believed."""

import json
import pathlib
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from harness import host as hosts
from harness.agents import LONG
from harness.agents import Agent
from harness.agents import Cluster
from harness.etcd import Etcd
from harness.waiting import eventually
from tests import facts
from tests.contract.keyvalue import PATIENCE
from tmpl_glance_store import factory
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog import snapshot as catalog_snapshot
from tmpl_glance_store.catalog import view as catalog_view

WINDOW = 10  # seconds in which requests are counted
TTL = 3  # seconds of the agent's lease; it is kept alive every third
TEMPLATES = 20


@pytest.fixture
def etcd(tmp_path: pathlib.Path) -> Iterator[Etcd]:
    """An etcd that logs each request."""
    with Etcd(
        tmp_path / 'etcd', options=['--log-level', 'debug', '--logger', 'zap']
    ) as etcd:
        yield etcd


@pytest.fixture
def agent(tmp_path: pathlib.Path, etcd: Etcd) -> Iterator[Agent]:
    """A running agent with some copies, which has nothing more to do.

    Beside the timed passes nothing wakes it.
    """
    with Cluster(
        tmp_path / 'cluster',
        etcd.url,
        tmpl_store_lease=TTL,
        tmpl_store_interval=1,
    ) as cluster:
        agent = cluster.node('n1', 'hdd:disk:10').start()
        parts = agent.host.parts()
        for number in range(TEMPLATES):
            hosts.add(parts, hosts.content(1000, number))
        cluster.wait_until_whole()
        wait_for_passes(agent, 3)
        yield agent


def wait_for_passes(agent: Agent, count: int) -> None:
    """Wait until the agent has made *count* more passes."""
    before = agent.metric('agent_passes_total')
    assert eventually(
        lambda: agent.metric('agent_passes_total') >= before + count, LONG
    )


class Requests:
    """The requests that etcd has got since this was made."""

    def __init__(self, etcd: Etcd) -> None:
        (self._etcd,) = etcd.members
        self._start = self._started()
        self._seen = self._etcd.log.stat().st_size

    def counts(self) -> Counter[str]:
        """Return how many there were of each method."""
        return self._started() - self._start

    def unary(self) -> list[tuple[str, str]]:
        """Return method and content of each, but not of streams."""
        with self._etcd.log.open('rb') as log:
            log.seek(self._seen)
            lines = [
                json.loads(line)
                for line in log
                if b'"request stats"' in line and line.endswith(b'\n')
            ]
        return [
            (line['response type'].rpartition('/')[2], line['request content'])
            for line in lines
        ]

    def watches(self) -> int:
        """Return how many watches there are now."""
        return sum(
            int(line.split()[-1])
            for line in self._metrics()
            if line.startswith('etcd_debugging_mvcc_watcher_total')
        )

    def _metrics(self) -> list[str]:
        return requests.get(
            f'{self._etcd.url}/metrics', timeout=PATIENCE
        ).text.splitlines()

    def _started(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for line in self._metrics():
            if line.startswith('grpc_server_started_total'):
                name, _, value = line.rpartition(' ')
                method = name.partition('grpc_method="')[2].partition('"')[0]
                found[method] += int(float(value))
        return found


def test_an_agent_with_nothing_to_do_sends_keep_alives_only(
    agent: Agent, etcd: Etcd
) -> None:
    passes = agent.metric('agent_passes_total')
    sent = Requests(etcd)
    time.sleep(WINDOW)
    counts = sent.counts()
    assert agent.metric('agent_passes_total') > passes
    assert counts.keys() == {'LeaseKeepAlive'}
    assert counts['LeaseKeepAlive'] <= WINDOW / (TTL / 3) + 2
    assert sent.unary() == []
    assert sent.watches() == 1


def test_a_changed_template_is_heard_of_and_not_asked_for(
    agent: Agent, etcd: Etcd
) -> None:
    catalog = factory.build_catalog(agent.host.options)
    record = catalog.bindings.templates()[0]
    wait_for_passes(agent, 2)
    sent = Requests(etcd)
    catalog.records.store.commit(
        [],
        [
            catalog.records.pins.put(
                objects.Pin(record.template.digest, pinned_at=1.0)
            )
        ],
    )
    wait_for_passes(agent, 3)
    assert [method for method, _ in sent.unary()] == ['Txn']
    catalog.close()


def test_the_log_of_etcd_would_show_a_list(agent: Agent, etcd: Etcd) -> None:
    sent = Requests(etcd)
    catalog = factory.build_catalog(agent.host.options)
    catalog.entries()
    assert eventually(sent.unary, LONG)
    assert sent.counts()['Range'] == 1
    ((method, content),) = sent.unary()
    assert method == 'Range'
    assert 'range_end' in content
    catalog.close()


# The view


class Churn:
    """Changes of all kinds, at random but the same in each run."""

    def __init__(self, catalog: catalog_domain.Catalog) -> None:
        self._catalog = catalog
        self._random = random.Random(1)
        self._leases: list[int] = []

    def step(self) -> None:
        """Change something, perhaps nothing."""
        template = facts.template(self._random.choice('abcd'))
        digest = template.digest
        place = f'n1/{self._random.choice("xyz")}'
        self._random.choice(
            (
                lambda: self._catalog.bindings.restore(template),
                lambda: self._catalog.copies.adopt(digest, place),
                lambda: self._catalog.copies.verified(digest, place),
                lambda: self._catalog.copies.forget(digest, place),
                lambda: self._catalog.locations.put(
                    objects.Location(
                        place, 'n1', 'ssd', f'/{place}', self._random.random()
                    )
                ),
                self._announce,
                self._leave,
            )
        )()

    def _announce(self) -> None:
        self._leases.append(self._catalog.nodes.grant(600))
        self._catalog.nodes.announce(
            objects.Node(
                self._random.choice(('n1', 'n2')), 'http://n', 'n:1', '1'
            ),
            self._leases[-1],
        )

    def _leave(self) -> None:
        if self._leases:
            self._catalog.nodes.revoke(self._leases.pop())


@pytest.fixture
def catalogs(etcd: Etcd) -> Iterator[list[catalog_domain.Catalog]]:
    """Two handles on one catalog."""
    made = [
        catalog_domain.Catalog(factory.build_catalog_store(etcd.url), 'c')
        for _ in range(2)
    ]
    yield made
    for each in made:
        each.close()


def fresh(catalog: catalog_domain.Catalog) -> catalog_snapshot.Snapshot:
    """Return the catalog as it is."""
    view = catalog_view.View(catalog)
    try:
        return view.reload()
    finally:
        view.close()


def test_a_view_follows_without_a_list_and_leaves_old_snapshots_alone(
    catalogs: list[catalog_domain.Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = catalogs
    churn = Churn(other)
    for _ in range(20):
        churn.step()
    view = catalog_view.View(mine)
    assert view.snapshot.templates == {}
    first = view.update()
    unchanged = fresh(other)
    assert first == unchanged
    monkeypatch.setattr(mine, 'entries', lambda: pytest.fail('a list'))
    for _ in range(30):
        for _ in range(5):
            churn.step()
        now = fresh(other)
        assert eventually(lambda now=now: view.update() == now, LONG)
    assert first == unchanged
    view.close()


def test_a_view_that_may_have_missed_something_lists_anew(
    catalogs: list[catalog_domain.Catalog],
) -> None:
    mine, other = catalogs
    churn = Churn(other)
    view = catalog_view.View(mine)
    view.update()
    for _ in range(5):
        view._watch._stream.stop()  # as a firewall does
        for _ in range(5):
            churn.step()
        now = fresh(other)
        assert eventually(lambda now=now: view.update() == now, LONG)
        assert eventually(lambda: view._watch._stream is not None, LONG)
    view.close()


def test_a_view_lists_anew_once_in_a_while(
    catalogs: list[catalog_domain.Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    lists = []
    catalog, _ = catalogs
    entries = catalog.entries
    monkeypatch.setattr(
        catalog, 'entries', lambda: lists.append(clock[0]) or entries()
    )
    view = catalog_view.View(catalog, resync=100, clock=lambda: clock[0])
    for clock[0] in (0.0, 50.0, 99.0, 100.0, 150.0, 200.0):
        view.update()
    assert lists == [0.0, 100.0, 200.0]
    clock[0] = 300.0
    assert view.wait(0)  # whoever waits is told that an update is due
    view.close()
