# SPDX-License-Identifier: Apache-2.0
"""Faults of a cluster: real agents, real etcd, real libtorrent, real SIGKILL.

After each: every template that an image refers to is complete on all its
targets, nothing else lies about, and no byte was served unproven. Deadlines
are generous, and nothing depends on them; limits give the time for a fault.
"""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures

import pytest
from glance_store import exceptions as glance_exceptions

from harness import agents
from harness import host as hosts
from harness import netns
from harness.agents import LONG
from harness.agents import Agent
from harness.agents import Cluster
from harness.certificates import Authority
from harness.etcd import Etcd
from harness.host import download
from harness.host import new_id
from harness.waiting import eventually
from tmpl_glance_store import driver
from tmpl_glance_store import factory
from tmpl_glance_store import schema
from tmpl_glance_store.catalog import contract

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

MIB = 1 << 20
SMALL = hosts.content(5 * MIB + 7, 'small')
LARGE = hosts.content(24 * MIB, 'large')
#: With it, LARGE takes long enough for any fault in between.
SLOW = 2 * MIB
#: What libtorrent may hold in memory, and so lose: see swarm/settings.py.
IN_MEMORY = 5 * MIB


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> Iterator[Cluster]:
    """A cluster without nodes yet, on SQLite."""
    with Cluster(tmp_path) as cluster:
        yield cluster
        show(cluster)


@pytest.fixture
def etcd(tmp_path: pathlib.Path) -> Iterator[Etcd]:
    """A real etcd."""
    with Etcd(tmp_path / 'etcd') as etcd:
        yield etcd


def show(cluster: Cluster) -> None:
    """Print the logs: pytest shows them for a test that has failed."""
    for agent in cluster.agents:
        print(f'--- {agent.log}\n{agent.log_tail()}')


def upload(
    store: driver.Store, data: bytes, image_id: str | None = None
) -> str:
    """Upload *data*; return the URL."""
    return store.add(
        image_id or new_id(), io.BytesIO(data), len(data), 'sha512'
    )[0]


def delete(store: driver.Store, url: str) -> None:
    """Delete an image."""
    store.delete(hosts.at(store, url))


def digest_of(url: str) -> str:
    """Return the digest in a URL."""
    return url.split('/')[4]


def partial(agent: Agent) -> int:
    """Return the bytes that unfinished fetches of a node take."""
    return sum(
        file.stat().st_blocks * 512
        for path in agent.host.unfinished()
        for file in path.glob('image')
    )


# Agents that die


def test_a_killed_receiver_resumes_where_it_was(cluster: Cluster) -> None:
    (source,) = cluster.nodes('n1')
    receiver = cluster.node('n2', tmpl_store_download_limit=SLOW).start()
    url = upload(source.host.store(), LARGE)
    assert eventually(receiver.has_fetched(12 * MIB), LONG)
    before = receiver.done()
    receiver.kill()
    assert receiver.host.copies() == []
    kept = partial(receiver)
    assert kept >= before - IN_MEMORY
    receiver.settings['tmpl_store_download_limit'] = 64 << 10
    receiver.start()
    assert eventually(
        lambda: (receiver.transfer() or {}).get('state') == 'fetching', LONG
    )
    # At this limit it cannot have fetched that much anew.
    assert receiver.done() >= before - IN_MEMORY
    receiver.reload(tmpl_store_download_limit=0)
    cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
    cluster.wait_until_whole()


def test_the_only_seeding_agent_dies_and_returns(cluster: Cluster) -> None:
    source = cluster.node('n1', tmpl_store_upload_limit=SLOW).start()
    receivers = cluster.nodes('n2', 'n3')
    url = upload(source.host.store(), LARGE)
    for receiver in receivers:
        assert eventually(receiver.has_fetched(2 * MIB), LONG)
    source.kill()
    assert eventually(lambda: not cluster.live(source), LONG)
    assert cluster.holders(digest_of(url)) == ['n1']
    source.settings['tmpl_store_upload_limit'] = 0
    source.start()
    cluster.wait_for_holders(digest_of(url), 'n1', 'n2', 'n3')
    cluster.wait_until_whole()


def test_an_agent_that_hung_for_longer_than_its_lease_goes_on(
    cluster: Cluster,
) -> None:
    source = cluster.node('n1', tmpl_store_upload_limit=SLOW).start()
    (receiver,) = cluster.nodes('n2')
    url = upload(source.host.store(), LARGE)
    assert eventually(receiver.has_fetched(2 * MIB), LONG)
    source.pause()
    assert eventually(lambda: not cluster.live(source), LONG)
    source.resume()
    assert eventually(lambda: cluster.live(source) or not source.running, LONG)
    assert source.running
    source.reload(tmpl_store_upload_limit=0)
    cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
    cluster.wait_until_whole()


def test_a_read_survives_the_death_of_its_holder(cluster: Cluster) -> None:
    holders = cluster.nodes('n1', 'n2')
    reader = cluster.node('glance', 'staging:up:10').host.store()
    url = upload(holders[0].host.store(), LARGE)
    cluster.wait_until_whole()
    data, size = reader.get(hosts.at(reader, url))
    assert size == len(LARGE)
    with contextlib.closing(data):
        chunks = iter(data)
        got = [next(chunks)]
        (victim,) = (
            each for each in holders if each.metric('api_sent_bytes_total')
        )
        victim.kill()
        got += chunks
    assert b''.join(got) == LARGE
    victim.start()
    cluster.wait_until_whole()


def test_sigterm_ends_an_agent_within_10_s_in_the_middle_of_a_fetch(
    cluster: Cluster,
) -> None:
    (source,) = cluster.nodes('n1')
    receiver = cluster.node('n2', tmpl_store_download_limit=SLOW).start()
    upload(source.host.store(), LARGE)
    assert eventually(receiver.has_fetched(8 * MIB), LONG)
    code, seconds = receiver.terminate()
    assert (code, seconds < 10) == (0, True)
    # It says good-bye: nobody has to wait for its lease to expire.
    assert not cluster.live(receiver)
    assert partial(receiver) >= 3 * MIB
    receiver.settings['tmpl_store_download_limit'] = 0
    receiver.start()
    cluster.wait_until_whole()
    code, seconds = source.terminate()
    assert (code, seconds < 10) == (0, True)


# Bytes that rot


def test_bits_that_flip_at_rest_are_found_and_fetched_again(
    cluster: Cluster,
) -> None:
    first, second = cluster.nodes(
        'n1', 'n2', tmpl_store_scrub_period=1, tmpl_store_scrub_rate=100 * MIB
    )
    url = upload(first.host.store(), SMALL)
    cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
    agents.flip_bits(second.host, digest_of(url))
    assert eventually(second.host.quarantined, LONG)
    cluster.wait_until_whole()
    assert second.metric('agent_quarantined_total') == 1
    assert first.metric('agent_quarantined_total') == 0
    assert first.metric('agent_scrubbed_bytes_total') >= len(SMALL)
    for each in first, second:
        assert download(each.host.store(), url) == SMALL


def test_a_holder_whose_bits_flipped_gives_none_of_them(
    cluster: Cluster,
) -> None:
    first, second = cluster.nodes('n1', 'n2')
    url = upload(first.host.store(), SMALL)
    cluster.wait_until_whole()
    agents.flip_bits(second.host, digest_of(url))
    (third,) = cluster.nodes('n3')  # from the swarm
    cluster.wait_for_holders(digest_of(url), 'n1', 'n2', 'n3')
    assert download(third.host.store(), url) == SMALL
    reader = cluster.node('glance', 'staging:up:10').host.store()
    for _ in range(5):  # the order of the holders is random
        assert download(reader, url) == SMALL


# Deletions


def test_a_template_that_is_deleted_while_it_is_fetched_vanishes(
    cluster: Cluster,
) -> None:
    source = cluster.node('n1', tmpl_store_upload_limit=SLOW).start()
    receivers = cluster.nodes('n2', 'n3')
    store = source.host.store()
    url = upload(store, LARGE)
    for receiver in receivers:
        assert eventually(receiver.has_fetched(2 * MIB), LONG)
    delete(store, url)
    cluster.wait_until_clean()
    for receiver in receivers:
        assert eventually(lambda agent=receiver: not agent.transfer(), LONG)
    cluster.wait_until_clean()


def test_a_deletion_reaches_a_node_that_was_down(cluster: Cluster) -> None:
    first, second = cluster.nodes('n1', 'n2')
    store = first.host.store()
    url, kept = upload(store, SMALL), upload(store, SMALL[1:])
    cluster.wait_until_whole()
    second.kill()
    delete(store, url)
    assert len(second.host.copies()) == 2
    assert cluster.holders(digest_of(url)) == ['n2']
    second.start()
    cluster.wait_for_holders(digest_of(url))
    cluster.wait_until_whole()
    assert [path.name for path in second.host.copies()] == [digest_of(kept)]


def test_content_that_comes_back_while_a_node_is_down_lives_again(
    cluster: Cluster,
) -> None:
    first, second = cluster.nodes('n1', 'n2')
    store = first.host.store()
    url = upload(store, SMALL)
    cluster.wait_until_whole()
    second.kill()
    delete(store, url)
    again = upload(store, SMALL)
    second.start()
    cluster.wait_until_whole()
    assert cluster.holders(digest_of(again)) == ['n1', 'n2']
    assert download(second.host.store(), again) == SMALL


def test_uploads_and_deletions_that_race_leave_what_is_bound(
    cluster: Cluster,
) -> None:
    stores = [each.host.store() for each in cluster.nodes('n1', 'n2')]

    def churn(store: driver.Store) -> str:
        for _ in range(5):
            delete(store, upload(store, SMALL))
        return upload(store, SMALL)

    with futures.ThreadPoolExecutor() as pool:
        urls = list(pool.map(churn, stores))
    cluster.wait_until_whole()
    for store, url in zip(stores, urls, strict=True):
        assert download(store, url) == SMALL
        delete(store, url)
    cluster.wait_until_clean()


def test_two_hosts_may_add_the_same_content_at_once(cluster: Cluster) -> None:
    stores = [each.host.store() for each in cluster.nodes('n1', 'n2', 'n3')]
    ready = threading.Barrier(2)

    def add(store: driver.Store) -> str:
        ready.wait(LONG)
        return upload(store, SMALL)

    with futures.ThreadPoolExecutor() as pool:
        urls = list(pool.map(add, stores[:2]))
    cluster.wait_until_whole()
    assert len(cluster.view.copies()) == 3
    delete(stores[2], urls[0])  # from any host
    cluster.wait_until_whole()
    assert [download(each, urls[1]) == SMALL for each in stores] == [True] * 3
    delete(stores[2], urls[1])
    cluster.wait_until_clean()


# How many copies an upload waits for


def test_an_upload_returns_when_enough_nodes_have_it(cluster: Cluster) -> None:
    first, _ = cluster.nodes(
        'n1', 'n2', tmpl_store_min_copies=2, tmpl_store_write_timeout=LONG
    )
    url = upload(first.host.store(), SMALL)
    assert cluster.holders(digest_of(url)) == ['n1', 'n2']
    cluster.wait_until_whole()


def test_an_upload_that_too_few_nodes_take_is_undone(cluster: Cluster) -> None:
    lonely = cluster.node(
        'n1', tmpl_store_min_copies=2, tmpl_store_write_timeout=1
    )
    store = lonely.host.store()
    with pytest.raises(
        glance_exceptions.RemoteServiceUnavailable,
        match='not 2 nodes held a copy',
    ):
        upload(store, SMALL)
    assert cluster.view.is_clean()


# Nodes and disks that come, go and fill


def test_a_node_that_is_gone_is_replaced_and_counts_again_when_back(
    cluster: Cluster,
) -> None:
    running = cluster.nodes(
        'n1', 'n2', 'n3', tmpl_store_copies=2, tmpl_store_rebuild_delay=1
    )
    store = running[0].host.store()
    for number in range(6):
        upload(store, SMALL[number:])
    cluster.wait_until_whole()
    digests = [
        each.template.digest for each in cluster.catalog.bindings.templates()
    ]
    running[1].kill()
    cluster.wait_until_whole(away=('n2',))
    held = set(running[1].host.copies())
    running[1].start()
    cluster.wait_until_whole()
    assert set(running[1].host.copies()) == held  # none was fetched again
    assert running[1].metric('agent_actions_total') == 0
    for digest in digests:  # what replaced it stays as a cache
        assert len(cluster.holders(digest)) >= 2


def test_a_new_node_fills_up_by_itself(cluster: Cluster) -> None:
    first = cluster.node('n1', 'hdd:disk:10').start()
    store = first.host.store()
    urls = [upload(store, SMALL[n:]) for n in range(3)]
    late = cluster.node('n2', 'hdd:disk:10', 'hdd:other:10').start()
    assert eventually(lambda: cluster.live(late), LONG)
    cluster.wait_until_whole()
    assert sorted(path.name for path in late.host.copies()) == sorted(
        map(digest_of, urls)
    )


def test_a_host_that_only_stages_lets_go_when_the_targets_have_it(
    cluster: Cluster,
) -> None:
    glance = cluster.node('glance', 'staging:up:10').start()
    cluster.nodes('n1', 'n2')
    url = upload(glance.host.store(), SMALL)
    cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
    cluster.wait_until_whole()
    assert glance.host.copies() == []
    assert download(glance.host.store(), url) == SMALL


@pytest.fixture
def small_disk(
    tmp_path: pathlib.Path,
) -> Iterator[Callable[[pathlib.Path, int], None]]:
    """Mount small file systems."""
    if os.geteuid():
        pytest.skip('only root may mount')
    with contextlib.ExitStack() as stack:

        def mount(path: pathlib.Path, size: int) -> None:
            path.mkdir(parents=True)
            subprocess.run(
                [
                    'mount',
                    '-t',
                    'tmpfs',
                    '-o',
                    f'size={size}',
                    'none',
                    str(path),
                ],
                check=True,
            )
            stack.callback(
                subprocess.run, ['umount', '-l', str(path)], check=True
            )

        yield mount


def test_a_target_with_a_full_disk_is_left_out(
    cluster: Cluster, small_disk: Callable[[pathlib.Path, int], None]
) -> None:
    (source,) = cluster.nodes('n1')
    full = cluster.node('n2')
    small_disk(full.host.paths[0], 3 * MIB)
    full.start()
    store = source.host.store()
    url, tiny = upload(store, SMALL), upload(store, SMALL[:MIB])
    cluster.wait_for_holders(digest_of(tiny), 'n1', 'n2')
    assert cluster.holders(digest_of(url)) == ['n1']
    assert full.host.unfinished() == []
    assert full.ask('/healthz') == b'ok\n'
    assert cluster.view.disagreements() == []
    assert download(full.host.store(), url) == SMALL


def test_a_target_with_another_disk_uses_that_when_one_is_full(
    cluster: Cluster, small_disk: Callable[[pathlib.Path, int], None]
) -> None:
    (source,) = cluster.nodes('n1')
    two = cluster.node('n2', 'ssd:full:1000', 'ssd:free:1')
    small_disk(two.host.paths[0], 3 * MIB)
    two.start()
    url = upload(source.host.store(), SMALL)
    cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
    assert cluster.view.disagreements() == []
    assert [
        path.is_relative_to(two.host.paths[1]) for path in two.host.copies()
    ] == [True]


def test_a_target_with_a_full_disk_is_replaced_by_the_next_node(
    cluster: Cluster, small_disk: Callable[[pathlib.Path, int], None]
) -> None:
    first, _ = cluster.nodes('n1', 'n3', tmpl_store_copies=2)
    full = cluster.node('n2', 'ssd:ssd:1000', tmpl_store_copies=2)
    small_disk(full.host.paths[0], 3 * MIB)
    full.start()
    url = upload(first.host.store(), SMALL)
    cluster.wait_for_holders(digest_of(url), 'n1', 'n3')
    assert cluster.catalog.nodes.live()['n2'].full == (digest_of(url),)
    assert full.host.unfinished() == []


def test_a_read_only_target_is_replaced_by_the_next_node(
    cluster: Cluster, small_disk: Callable[[pathlib.Path, int], None]
) -> None:
    first, _ = cluster.nodes('n1', 'n3', tmpl_store_copies=2)
    broken = cluster.node('n2', 'ssd:ssd:1000', tmpl_store_copies=2)
    disk = broken.host.paths[0]
    small_disk(disk, 100 * MIB)
    broken.start()
    before = upload(first.host.store(), SMALL[:MIB])
    assert eventually(lambda: 'n2' in cluster.holders(digest_of(before)), LONG)
    subprocess.run(['mount', '-o', 'remount,ro', str(disk)], check=True)
    url = upload(first.host.store(), SMALL)
    cluster.wait_for_holders(digest_of(url), 'n1', 'n3')
    # What it has, it still serves.
    assert 'n2' in cluster.holders(digest_of(before))
    assert download(broken.host.store(), before) == SMALL[:MIB]
    subprocess.run(['mount', '-o', 'remount,rw', str(disk)], check=True)
    broken.kill()
    broken.start()
    assert eventually(lambda: 'n2' in cluster.holders(digest_of(url)), LONG)
    assert cluster.view.disagreements() == []


def test_a_fetch_that_nearly_fills_its_disk_is_not_given_up(
    cluster: Cluster, small_disk: Callable[[pathlib.Path, int], None]
) -> None:
    (source,) = cluster.nodes('n1')
    tight = cluster.node('n2', tmpl_store_download_limit=4 * MIB)
    small_disk(tight.host.paths[0], 30 * MIB)
    tight.start()
    url = upload(source.host.store(), LARGE)
    assert eventually(tight.has_fetched(16 * MIB), LONG)
    cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
    assert tight.metric('agent_passes_total') < 100
    cluster.wait_until_whole()


# A partition


@pytest.mark.skipif(not netns.available(), reason='needs root and tc')
def test_a_partition_for_longer_than_the_lease_heals(
    tmp_path: pathlib.Path,
) -> None:
    """etcd and three nodes on one side, a node with a copy on the other."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(netns.Network())
        network.join()
        machines = [network.add_machine() for _ in range(5)]
        etcd = stack.enter_context(
            Etcd(tmp_path / 'etcd', machine=machines[0])
        )
        cluster = stack.enter_context(
            Cluster(
                tmp_path,
                etcd.url,
                Authority(tmp_path / 'ca'),
                tmpl_store_copies=2,
                tmpl_store_rebuild_delay=2,
            )
        )
        # Weights decide: n1 and n2 hold all that there is.
        nodes = [
            cluster.node(
                f'n{number}', f'ssd:ssd:{weight}', machine=machine
            ).start()
            for number, weight, machine in zip(
                (1, 2, 3, 4), (10**6, 10**6, 1, 1), machines[1:], strict=True
            )
        ]
        near, far = nodes[0], nodes[1]
        store = near.host.store()
        kept, gone = upload(store, SMALL), upload(store, SMALL[:MIB])
        for url in kept, gone:
            cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
        cluster.wait_until_whole()

        machines[2].unplug()
        assert eventually(
            lambda: 'n2' not in cluster.catalog.nodes.live(), LONG
        )
        delete(store, gone)
        late = upload(store, LARGE)
        assert eventually(
            lambda: all(  # somebody stands in
                len({*cluster.holders(digest_of(url))} - {'n2'}) == 2
                for url in (kept, late)
            ),
            LONG,
        )
        # The other side has heard of nothing, and takes nothing away.
        assert far.running
        assert len(far.host.copies()) == 2

        machines[2].plug()
        cluster.wait_for_holders(digest_of(gone))
        assert eventually(
            lambda: {'n1', 'n2'} <= {*cluster.holders(digest_of(late))}, LONG
        )
        cluster.wait_until_whole()
        assert far.host.copies(digest_of(gone)) == []
        assert download(far.host.store(), late) == LARGE
        delete(store, kept)
        delete(store, late)
        cluster.wait_until_clean()
        show(cluster)


# Without the catalog


def test_a_transfer_and_an_upload_survive_that_etcd_is_away(
    tmp_path: pathlib.Path, etcd: Etcd
) -> None:
    with Cluster(tmp_path, etcd.url) as cluster:
        source = cluster.node('n1', tmpl_store_upload_limit=SLOW).start()
        (receiver,) = cluster.nodes('n2')
        store = source.host.store()
        small = upload(store, SMALL)
        cluster.wait_for_holders(digest_of(small), 'n1', 'n2')
        url = upload(store, LARGE)
        assert eventually(receiver.has_fetched(2 * MIB), LONG)
        before = cluster.view.copies()
        etcd.members[0].stop()
        at = receiver.done()
        with pytest.raises(glance_exceptions.RemoteServiceUnavailable):
            upload(store, SMALL[1:])
        # Local reads and the bytes of the transfer go on meanwhile.
        assert download(store, small) == SMALL
        assert eventually(receiver.has_fetched(at + 4 * MIB), LONG)
        source.reload(tmpl_store_upload_limit=0)
        # Longer than the lease: when etcd is back, both are new to it.
        time.sleep(4)
        assert cluster.view.copies()[: len(before)] == before
        etcd.start(*etcd.members)
        cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
        cluster.wait_until_whole()
        upload(store, SMALL[2:])
        cluster.wait_until_whole()
        assert len(cluster.catalog.bindings.templates()) == 3


def test_sigterm_ends_an_agent_within_10_s_while_etcd_hangs(
    tmp_path: pathlib.Path, etcd: Etcd
) -> None:
    with Cluster(tmp_path, etcd.url) as cluster:
        (agent,) = cluster.nodes('n1')
        etcd.members[0].pause()
        code, seconds = agent.terminate()
        assert (code, seconds < 10) == (0, True)


def test_an_agent_starts_without_etcd_and_waits_for_it(
    tmp_path: pathlib.Path, etcd: Etcd
) -> None:
    with Cluster(tmp_path, etcd.url) as cluster:
        (source,) = cluster.nodes('n1')
        url = upload(source.host.store(), SMALL)
        etcd.members[0].stop()
        late = cluster.node('n2').start()
        assert late.ask('/healthz') != b'ok\n'
        etcd.start(*etcd.members)
        cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
        assert eventually(lambda: late.ask('/healthz') == b'ok\n', LONG)
        cluster.wait_until_whole()


# Who may take part


def test_the_clusters_nodes_prove_themselves_and_no_others_take_part(
    tmp_path: pathlib.Path,
) -> None:
    with Cluster(tmp_path, authority=Authority(tmp_path)) as cluster:
        first, second = cluster.nodes('n1', 'n2')
        foreign = cluster.node(
            'n3', authority=Authority(tmp_path, 'foreign')
        ).start()
        assert eventually(lambda: cluster.live(first, second, foreign), LONG)
        url = upload(first.host.store(), SMALL)
        cluster.wait_for_holders(digest_of(url), 'n1', 'n2')
        assert first.url.startswith('https://')
        assert eventually(
            lambda: sum(
                each.metric('api_refused_total') for each in (first, second)
            ),
            LONG,
        )
        assert partial(foreign) == 0
        assert foreign.host.copies() == []
        # Nor by reading, and the cluster's do not ask it.
        with pytest.raises(glance_exceptions.RemoteServiceUnavailable):
            download(foreign.host.store(), url)
        reader = cluster.node('glance', 'staging:up:10').host.store()
        assert download(reader, url) == SMALL
        assert cluster.holders(digest_of(url)) == ['n1', 'n2']


@pytest.mark.parametrize('address', ['0.0.0.0', '::'])
def test_an_agent_without_tls_listens_on_loopback_only(
    cluster: Cluster, address: str
) -> None:
    agent = cluster.node('n1', tmpl_store_agent_host=address).launch()
    assert agent.end() == 1
    for option in (
        'tmpl_store_tls_ca',
        'tmpl_store_tls_certificate',
        'tmpl_store_tls_key',
    ):
        assert option in agent.log_text()


def test_an_agent_of_an_older_version_works_beside_newer_ones(
    cluster: Cluster,
) -> None:
    first, second = cluster.nodes('n1', 'n2')
    store = first.host.store()
    url = upload(store, SMALL)
    cluster.wait_until_whole()
    second.kill()
    assert eventually(lambda: not cluster.live(second), LONG)
    # As if all had been written by an older version, or a newer one.
    keys = factory.build_catalog_store(cluster.catalog_url)
    for kind, newer in (
        ('templates', {'format', 'held'}),
        ('locations', {'size', 'free', 'health', 'reason'}),
        ('copies', {'verified_at', 'published', 'refused'}),
    ):
        for key, fields in agents.records_of(
            cluster.catalog_url, kind
        ).items():
            old = {
                name: value
                for name, value in fields.items()
                if name not in newer
            } | {'from_the_future': 1}
            keys.commit([], [contract.Put(key, json.dumps(old).encode())])
    lease = keys.grant(600)
    keys.commit(
        [],
        [
            contract.Put(
                f'/tmpl/{hosts.CLUSTER}/v2/state/nodes/old',
                json.dumps(
                    {
                        'version': schema.VERSION,
                        'name': 'old',
                        'api': 'http://127.0.0.200:1',
                        'swarm': '127.0.0.200:1',
                        'release': '0',
                    }
                ).encode(),
                lease,
            )
        ],
    )
    keys.close()
    (third,) = cluster.nodes('n3')
    second.start()
    cluster.wait_for_holders(digest_of(url), 'n1', 'n2', 'n3')
    cluster.wait_until_whole()
    assert download(third.host.store(), url) == SMALL
    delete(store, url)
    cluster.wait_until_clean()


# What an agent shows


def test_the_status_shows_how_far_a_fetch_is_and_what_is_held(
    cluster: Cluster,
) -> None:
    (source,) = cluster.nodes('n1')
    receiver = cluster.node('n2', tmpl_store_download_limit=SLOW).start()
    digest = digest_of(upload(source.host.store(), LARGE))
    assert eventually(receiver.has_fetched(MIB), LONG)
    assert eventually(
        lambda: source.status()['copies'][0]['state'] == 'seeding', LONG
    )
    where = next(
        each.id
        for each in cluster.catalog.locations.all()
        if each.node == 'n2'
    )
    shown = receiver.status()
    (fetch,) = shown['transfers']
    assert (shown['node'], shown['problem']) == ('n2', None)
    assert (
        fetch['digest'],
        fetch['location'],
        fetch['size'],
        fetch['state'],
    ) == (digest, where, len(LARGE), 'fetching')
    assert MIB <= fetch['done'] < len(LARGE)
    assert fetch['peers'] == 1
    assert receiver.metric('agent_transfers') == 1
    assert cluster.catalog.nodes.live()['n2'].fetching == (digest,)
    receiver.reload(tmpl_store_download_limit=0)
    assert eventually(
        lambda: (
            receiver.status()['copies']
            == [{'digest': digest, 'location': where, 'state': 'complete'}]
        ),
        LONG,
    )
    assert eventually(lambda: not receiver.transfer(), LONG)
    assert 'The limits were read again' in receiver.log_text()
    cluster.wait_until_whole()


def test_a_wrong_value_at_a_reload_changes_nothing(cluster: Cluster) -> None:
    (agent,) = cluster.nodes('n1')
    agent.reload(tmpl_store_upload_limit=-1)
    assert eventually(
        lambda: 'tmpl_store_upload_limit' in agent.log_text(), LONG
    )
    assert eventually(lambda: agent.ask('/healthz') == b'ok\n', LONG)
