# SPDX-License-Identifier: Apache-2.0
"""The etcd driver of the catalog, on the real etcd, and what may befall it.

Nothing depends on the speed of the machine: what must happen is waited for
with patience, and what must not happen is given no time limit to hide behind.
"""

import concurrent.futures
import contextlib
import itertools
import os
import pathlib
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import requests

from harness.certificates import Authority
from harness.etcd import Etcd
from harness.etcd import Member
from tests.contract import keyvalue
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import eventually
from tests.contract.keyvalue import in_threads
from tests.contract.keyvalue import settle
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.catalog.contract import Compare
from tmpl_glance_store.catalog.contract import Delete
from tmpl_glance_store.catalog.contract import KeyValue
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import driver

Connect = Callable[[str], driver.EtcdKeyValue]


@pytest.fixture(scope='module')
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One etcd for the tests that leave it as it is."""
    with Etcd(tmp_path_factory.mktemp('etcd')) as etcd:
        yield etcd


@pytest.fixture(scope='module')
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The cluster's CA."""
    return Authority(tmp_path_factory.mktemp('tls'))


@pytest.fixture(scope='module')
def secure(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Etcd]:
    """An etcd for clients with a certificate."""
    with Etcd(tmp_path_factory.mktemp('etcd'), authority=authority) as etcd:
        yield etcd


@pytest.fixture
def single(tmp_path: pathlib.Path) -> Iterator[Etcd]:
    """An etcd of the test's own."""
    with Etcd(tmp_path / 'single') as etcd:
        yield etcd


@pytest.fixture
def trio(tmp_path: pathlib.Path) -> Iterator[Etcd]:
    """A cluster of three, of the test's own."""
    with Etcd(tmp_path / 'trio', 3) as etcd:
        yield etcd


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Return a function that opens a handle, which prefers the first member.

    Afterwards no watch may be left.
    """
    # In order, so that the tests know which member has to fail.
    monkeypatch.setattr(driver._RANDOM, 'randrange', lambda _: 0)
    with contextlib.ExitStack() as stack:

        def connect(url: str) -> driver.EtcdKeyValue:
            store = driver.EtcdKeyValue(url)
            stack.callback(store.close)
            return store

        yield connect
    assert eventually(lambda: not watch_threads())


@pytest.fixture
def store(shared: Etcd, connect: Connect) -> driver.EtcdKeyValue:
    """A handle on the shared etcd."""
    return connect(shared.url)


def query_of(authority: Authority, name: str) -> str:
    """Return what a client with a new certificate adds to its URL."""
    files = authority.node(name)
    return f'?ca={files.ca}&cert={files.certificate}&key={files.key}'


def watch_threads() -> list[threading.Thread]:
    """Return the threads that listen to etcd."""
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith('watch ')
    ]


def every_call(store: KeyValue) -> list[Callable[[], object]]:
    """Return a call of each method that speaks to etcd."""
    return [
        lambda: store.get('/a'),
        lambda: store.list('/'),
        lambda: store.commit([], [Put('/a', b'2')]),
        lambda: store.commit([Compare('/a', 0)], []),
        lambda: store.grant(60),
        lambda: store.keep_alive(1),
        lambda: store.revoke(1),
        lambda: store.watch('/'),
    ]


def unavailable(call: Callable[[], object]) -> exceptions.Unavailable:
    """Return the error of *call*, which has to be of that kind."""
    with pytest.raises(exceptions.Unavailable) as caught:
        call()
    return caught.value


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and all that has led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def at_last(call: Callable[[], Any]) -> Any:
    """Return the result of *call* as soon as it is not Unavailable."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except exceptions.Unavailable:
            assert time.monotonic() < end
            time.sleep(0.1)


def versions(member: Member, key: str) -> int:
    """Return how often *key* was put since it was made."""
    found: Any = member.client.get(key, metadata=True)
    return int(found[0][1]['version']) if found else 0


def compact(member: Member) -> None:
    """Forget all revisions but the last."""
    client = member.client
    status: Any = client.status()
    client.post(
        client.get_url('/kv/compaction'),
        json={'revision': status['header']['revision'], 'physical': True},
    )


class TestEtcdKeyValue(keyvalue.KeyValueContract):
    @pytest.fixture
    def make_store(self, shared: Etcd) -> Callable[[], KeyValue]:
        return lambda: driver.EtcdKeyValue(shared.url)


class TestEtcdKeyValueInACluster(keyvalue.KeyValueContract):
    """The handles speak to different members, over TLS."""

    @pytest.fixture(scope='class')
    def cluster(
        self, tmp_path_factory: pytest.TempPathFactory, authority: Authority
    ) -> Iterator[Etcd]:
        root = tmp_path_factory.mktemp('cluster')
        with Etcd(root, 3, authority=authority) as etcd:
            yield etcd

    @pytest.fixture
    def make_store(
        self,
        cluster: Etcd,
        authority: Authority,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Callable[[], KeyValue]:
        numbers = itertools.cycle(range(3))
        monkeypatch.setattr(
            driver._RANDOM, 'randrange', lambda _: next(numbers)
        )
        url = cluster.url + query_of(authority, 'contract')
        return lambda: driver.EtcdKeyValue(url)


# The URL


@pytest.mark.parametrize(
    'url',
    [
        '',
        'etcd',
        'etcd://127.0.0.1:2379',
        'http://127.0.0.1:2379',
        'etcd+ftp://127.0.0.1:2379',
        'etcd+http://',
        'etcd+http://127.0.0.1',
        'etcd+http://127.0.0.1:',
        'etcd+http://127.0.0.1:0',
        'etcd+http://127.0.0.1:65536',
        'etcd+http://127.0.0.1:2379,',
        'etcd+http://127.0.0.1:2379;127.0.0.2:2379',
        'etcd+http://::1:2379',
        'etcd+http://[::1]',
        'etcd+http://me:secret@127.0.0.1:2379',
        'etcd+http://127.0.0.1:2379/v3',
        'etcd+http://127.0.0.1:2379#a',
        'etcd+http://127.0.0.1:2379?timeout=5',
        'etcd+http://127.0.0.1:2379?ca=/dev/null',
        'etcd+https://127.0.0.1:2379?ca',
        'etcd+https://127.0.0.1:2379?ca=/no',
        'etcd+https://127.0.0.1:2379?ca=/dev/null',
        'etcd+https://127.0.0.1:2379?password=a',
    ],
)
def test_another_form_of_url_is_refused(url: str) -> None:
    with pytest.raises(
        exceptions.BadConfiguration,
        match=re.escape(f'tmpl_store_catalog: {url!r}: '),
    ):
        driver.EtcdKeyValue(url)


@pytest.mark.parametrize(
    ('url', 'endpoints'),
    [
        ('etcd+http://127.0.0.1:2379', ['http://127.0.0.1:2379']),
        ('etcd+http://127.0.0.1:2379/', ['http://127.0.0.1:2379']),
        (
            'etcd+https://a:1,b.c:2,[::1]:3',
            ['https://a:1', 'https://b.c:2', 'https://[::1]:3'],
        ),
    ],
)
def test_a_url_names_all_members(url: str, endpoints: list[str]) -> None:
    assert [str(endpoint) for endpoint in driver._parse(url)[0]] == endpoints


def test_a_url_with_files_that_do_not_fit_is_refused(
    authority: Authority,
) -> None:
    query = query_of(authority, 'client')
    other = query_of(authority, 'other')
    url = 'etcd+https://127.0.0.1:2379'
    driver.EtcdKeyValue(url + query)
    for wrong in (
        query.replace('client.key', 'other.key'),
        query.replace('client.pem', 'missing.pem'),
        query.replace('ca.pem', 'client.key'),
        query.rpartition('&')[0],
        f'{query}&{other[1:]}',
    ):
        with pytest.raises(exceptions.BadConfiguration):
            driver.EtcdKeyValue(url + wrong)


# Reading and writing


def test_a_long_list_comes_in_pages_of_one_instant(
    monkeypatch: pytest.MonkeyPatch, store: driver.EtcdKeyValue
) -> None:
    monkeypatch.setattr(driver, '_PAGE', 10)
    keys = [f'/long/{n:02}' for n in range(35)]
    store.commit([], [Put(key, b'1') for key in keys])
    pages = store._pages('/long/')
    seen = [next(pages)]
    store.commit(
        [],
        [
            Put('/long/00', b'2'),
            Delete('/long/20'),
            Put('/long/21', b'2'),
            Put('/long/99', b'2'),
        ],
    )
    seen += pages
    assert [len(page) for page in seen] == [10, 10, 10, 5]
    entries = [driver._entry(kv) for page in seen for kv in page]
    assert [entry.key for entry in entries] == keys
    assert {entry.value for entry in entries} == {b'1'}
    assert len(store.list('/long/')) == 35


def test_a_list_whose_revision_is_compacted_begins_anew(
    monkeypatch: pytest.MonkeyPatch, shared: Etcd, store: driver.EtcdKeyValue
) -> None:
    monkeypatch.setattr(driver, '_PAGE', 10)
    keys = [f'/compacted/{n:02}' for n in range(35)]
    store.commit([], [Put(key, b'1') for key in keys])
    pages = store._pages
    interrupted = []

    def interrupt(prefix: str) -> Iterator[Sequence[dict[str, str]]]:
        for page in pages(prefix):
            yield page
            if not interrupted:
                interrupted.append(True)
                store.commit([], [Put('/compacted/00', b'2')])
                compact(shared.members[0])

    monkeypatch.setattr(store, '_pages', interrupt)
    assert [entry.key for entry in store.list('/compacted/')] == keys
    assert interrupted


def test_a_prefix_may_be_empty_or_of_any_script(
    store: driver.EtcdKeyValue,
) -> None:
    keys = ['/ключ/1', '/ключ/2', '/ключ\x7f', '/\U0010ffff/1']
    store.commit([], [Put(key, b'1') for key in keys])
    assert [e.key for e in store.list('/ключ/')] == keys[:2]
    assert [e.key for e in store.list('/ключ\x7f')] == [keys[2]]
    assert [e.key for e in store.list('/\U0010ffff')] == [keys[3]]
    assert {*keys} <= {e.key for e in store.list('')}
    with contextlib.closing(store.watch('')) as watch:
        store.commit([], [Delete(keys[0])])
        assert watch.wait(PATIENCE)


def test_the_last_write_of_a_key_counts(store: driver.EtcdKeyValue) -> None:
    store.commit(
        [], [Put('/twice', b'1'), Delete('/twice'), Put('/twice', b'2')]
    )
    assert store.get('/twice').value == b'2'
    store.commit([], [Put('/twice', b'3'), Delete('/twice')])
    assert store.get('/twice') is None


def test_what_etcd_refuses_is_unavailable_in_its_words(
    shared: Etcd, store: driver.EtcdKeyValue
) -> None:
    host = re.escape(shared.members[0].url)
    with pytest.raises(
        exceptions.Unavailable, match=f'{host}: .*request is too large'
    ):
        store.commit([], [Put('/large', b'x' * 1_800_000)])
    with pytest.raises(exceptions.Unavailable, match='too many operations'):
        store.commit([], [Put(f'/many/{n}', b'') for n in range(129)])
    assert store.list('/many/') == []


def test_a_server_that_is_not_etcd_is_unavailable(
    shared: Etcd, connect: Connect
) -> None:
    # The port of the peers speaks HTTP, but not this API.
    url = f'etcd+{shared.members[0].peer_url}'
    for call in every_call(connect(url)):
        assert '404' in str(unavailable(call))
    # And this one speaks no TLS.
    for call in every_call(connect(shared.url.replace('http', 'https'))):
        unavailable(call)


# No etcd


def test_without_etcd_everything_is_unavailable_until_it_is_back(
    single: Etcd, connect: Connect
) -> None:
    (member,) = single.members
    store = connect(single.url)
    store.commit([], [Put('/a', b'1')])
    seen = store.get('/a')
    for end in (member.stop, member.kill):
        end()
        for call in every_call(store) * 3:
            error = unavailable(call)
            assert f'etcd {member.url}: ' in str(error)
            assert 'refused' in str(error)
            assert any(
                isinstance(cause, ConnectionRefusedError)
                for cause in causes(error)
            )
        single.start(member)
        assert store.get('/a') == seen


def test_a_lease_outlives_a_restart(single: Etcd, connect: Connect) -> None:
    store = connect(single.url)
    lease = store.grant(PATIENCE)
    store.commit([], [Put('/a', b'1', lease)])
    single.members[0].kill()
    single.start(*single.members)
    assert store.get('/a').value == b'1'
    assert store.keep_alive(lease)
    store.revoke(lease)
    assert store.get('/a') is None


def test_an_etcd_that_hangs_is_unavailable_in_bounded_time(
    single: Etcd, connect: Connect
) -> None:
    (member,) = single.members
    store = connect(single.url)
    calls = every_call(store)
    store.commit([], [Put('/a', b'1')])
    member.pause()
    errors = in_threads(*[lambda c=call: unavailable(c) for call in calls])
    assert all('timed out' in str(error) for error in errors)
    member.resume()
    # What was asked may have been done all the same.
    assert at_last(lambda: store.get('/a')).value in (b'1', b'2')
    assert at_last(lambda: store.commit([], [Put('/a', b'3')]))
    assert store.get('/a').value == b'3'


# Several members


def test_a_dead_member_is_passed_over_even_by_a_commit(
    trio: Etcd, connect: Connect
) -> None:
    leader, dead, alive = trio.leader_first()
    store = connect(trio.url_of(dead, alive, leader))
    dead.kill()
    # Nothing was sent to it: no doubt about what has been done.
    assert store.commit([Compare('/a', 0)], [Put('/a', b'1')])
    assert store.get('/a').value == b'1'
    assert versions(leader, '/a') == 1
    watch = connect(trio.url_of(dead, alive, leader)).watch('/')
    settle(watch)
    store.commit([], [Put('/a', b'2')])
    assert watch.wait(PATIENCE)


def test_a_commit_in_doubt_is_not_repeated_elsewhere(
    trio: Etcd, connect: Connect
) -> None:
    leader, hanging, alive = trio.leader_first()
    store = connect(trio.url_of(hanging, alive, leader))
    store.commit([], [Put('/a', b'1')])
    hanging.pause()
    error = unavailable(lambda: store.commit([], [Put('/a', b'2')]))
    assert f'etcd {hanging.url}: ' in str(error)
    # The next ones go to a member that answers.
    assert store.commit([], [Put('/a', b'3')])
    assert store.get('/a').value == b'3'
    hanging.resume()
    trio.start(*trio.members)
    assert versions(leader, '/a') <= 3


def test_a_read_goes_on_to_the_next_member_when_one_hangs(
    trio: Etcd, connect: Connect
) -> None:
    leader, hanging, alive = trio.leader_first()
    store = connect(trio.url_of(hanging, alive, leader))
    store.commit([], [Put('/a', b'1')])
    hanging.pause()
    assert store.get('/a').value == b'1'
    assert store.keep_alive(store.grant(PATIENCE))


def test_the_loss_of_the_leader_loses_nothing(
    trio: Etcd, connect: Connect
) -> None:
    leader, *others = trio.leader_first()
    store = connect(trio.url_of(*others, leader))
    lease = store.grant(PATIENCE)
    store.commit([], [Put('/leased', b'', lease)])
    watch = store.watch('/')
    done: list[int] = []
    stop = threading.Event()

    def write() -> None:
        for n in itertools.count():
            if stop.is_set():
                return
            with contextlib.suppress(exceptions.Unavailable):
                if store.commit(
                    [Compare(f'/n/{n:06}', 0)], [Put(f'/n/{n:06}', b'%d' % n)]
                ):
                    done.append(n)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            assert eventually(lambda: len(done) > 20)
            leader.kill()
            before = len(done)
            assert eventually(lambda: len(done) > before + 20)
        finally:
            stop.set()
        writer.result(PATIENCE)
    kept = {int(entry.value) for entry in store.list('/n/')}
    assert {*done} <= kept
    assert store.keep_alive(lease)
    assert watch.wait(PATIENCE)
    settle(watch)
    at_last(lambda: store.commit([], [Put('/a', b'1')]))
    assert watch.wait(PATIENCE)


def test_reads_wait_for_an_election(trio: Etcd, connect: Connect) -> None:
    leader, *others = trio.leader_first()
    store = connect(trio.url_of(*others))
    store.commit([], [Put('/a', b'1')])
    leader.kill()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        assert store.get('/a').value == b'1'


def test_without_a_majority_everything_is_unavailable(
    trio: Etcd, connect: Connect
) -> None:
    leader, *others = trio.leader_first()
    store = connect(trio.url_of(leader))
    store.commit([], [Put('/a', b'1')])
    watch = store.watch('/')
    for member in others:
        member.kill()
    # For a while, the leader still takes itself for one.
    assert eventually(
        lambda: 'no leader' in str(unavailable(lambda: store.get('/a')))
    )
    errors = in_threads(
        *[lambda c=call: unavailable(c) for call in every_call(store)]
    )
    assert any('no leader' in str(error) for error in errors)
    settle(watch)
    trio.start(*trio.members)
    assert at_last(lambda: store.get('/a')).value in (b'1', b'2')
    # There was a gap.
    assert watch.wait(PATIENCE)
    settle(watch)
    assert at_last(lambda: store.commit([], [Put('/a', b'3')]))
    assert watch.wait(PATIENCE)


# Watches


def test_a_watch_tells_of_the_gap_that_a_restart_leaves(
    single: Etcd, connect: Connect
) -> None:
    (member,) = single.members
    store = connect(single.url)
    watch = store.watch('/')
    settle(watch)
    for end in (member.stop, member.kill):
        end()
        assert not watch.wait(1)
        single.start(member)
        assert watch.wait(PATIENCE)
        settle(watch)
        store.commit([], [Put('/a', b'1')])
        assert watch.wait(PATIENCE)
        settle(watch)


def test_a_watch_outlives_the_compaction_of_all_it_has_seen(
    single: Etcd, connect: Connect
) -> None:
    (member,) = single.members
    store = connect(single.url)
    watch = store.watch('/')
    for n in range(5):
        store.commit([], [Put('/a', b'%d' % n)])
    assert watch.wait(PATIENCE)
    settle(watch)
    compact(member)
    member.kill()
    single.start(member)
    store.commit([], [Put('/a', b'unseen')])
    store.commit([], [Put('/a', b'unseen, too')])
    compact(member)
    assert watch.wait(PATIENCE)
    settle(watch)
    store.commit([], [Put('/a', b'seen')])
    assert watch.wait(PATIENCE)


def test_a_watch_that_etcd_cancels_begins_anew(
    monkeypatch: pytest.MonkeyPatch, single: Etcd, connect: Connect
) -> None:
    store = connect(single.url)
    for n in range(5):
        store.commit([], [Put('/a', b'%d' % n)])
    compact(single.members[0])
    request = driver._watch_request
    asked: list[str] = []

    def from_the_compacted_revision(prefix: str) -> dict[str, Any]:
        asked.append(prefix)
        if len(asked) > 1:
            return request(prefix)
        create = {**request(prefix)['create_request'], 'start_revision': 1}
        return {'create_request': create}

    monkeypatch.setattr(driver, '_watch_request', from_the_compacted_revision)
    watch = store.watch('/')
    assert watch.wait(PATIENCE)
    assert asked == ['/', '/']
    settle(watch)
    store.commit([], [Put('/a', b'seen')])
    assert watch.wait(PATIENCE)


def test_a_watch_leaves_a_member_that_hangs(
    trio: Etcd, connect: Connect
) -> None:
    leader, hanging, alive = trio.leader_first()
    store = connect(trio.url_of(hanging, alive, leader))
    other = connect(trio.url_of(alive, leader))
    watch = store.watch('/')
    settle(watch)
    hanging.pause()
    other.commit([], [Put('/a', b'1')])
    # Whatever this handle asks, a lease to live on, say: it finds out.
    assert store.get('/a').value == b'1'
    assert watch.wait(PATIENCE)
    settle(watch)
    other.commit([], [Put('/a', b'2')])
    assert watch.wait(PATIENCE)


def test_a_watch_leaves_a_member_that_has_lost_the_others(
    trio: Etcd, connect: Connect
) -> None:
    leader, lonely, other = trio.leader_first()
    watch = connect(trio.url_of(lonely, other, leader)).watch('/')
    settle(watch)
    # The lonely member, still up, cannot hear of changes any more.
    leader.pause()
    other.pause()
    assert eventually(lambda: watch._stream is None)
    leader.resume()
    other.resume()
    assert watch.wait(PATIENCE)


def test_a_watch_replaces_a_stream_that_does_not_say_that_it_lives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, connect: Connect
) -> None:
    monkeypatch.setattr(driver, '_SILENCE', 5)
    with Etcd(
        tmp_path / 'etcd',
        options=['--experimental-watch-progress-notify-interval', '500ms'],
    ) as etcd:
        watch = connect(etcd.url).watch('/')
        settle(watch)
        stream = watch._stream
        # As long as it says so, this is no change, and the stream stays.
        assert not watch.wait(8)
        assert watch._stream is stream
        etcd.members[0].pause()
        assert eventually(lambda: watch._stream is not stream)
        etcd.members[0].resume()
        assert watch.wait(PATIENCE)


def test_a_quiet_watch_asks_nothing(
    monkeypatch: pytest.MonkeyPatch, shared: Etcd, store: driver.EtcdKeyValue
) -> None:
    monkeypatch.setattr(driver, '_ANSWER_TIMEOUT', 3)  # not for its silence

    def requests_so_far() -> float:
        text = requests.get(
            f'{shared.members[0].url}/metrics', timeout=PATIENCE
        ).text
        return sum(
            float(line.split()[-1])
            for line in text.splitlines()
            if line.startswith('grpc_server_msg_received_total')
        )

    watch = store.watch('/quiet/')
    settle(watch)
    stream, before = watch._stream, requests_so_far()
    assert not watch.wait(5)
    assert requests_so_far() == before
    assert watch._stream is stream


def test_a_watch_of_a_prefix_is_not_told_of_others(
    store: driver.EtcdKeyValue,
) -> None:
    watch = store.watch('/mine/')
    settle(watch)
    store.commit([], [Put('/yours/a', b'1'), Put('/mine', b'1')])
    assert not watch.wait(1)


def test_a_large_change_does_not_disturb_a_watch(
    store: driver.EtcdKeyValue,
) -> None:
    watch = store.watch('/large/')
    settle(watch)
    stream = watch._stream
    for value in (b'x' * 1_000_000, b'1'):
        store.commit([], [Put('/large/a', value)])
        assert watch.wait(PATIENCE)
        settle(watch)
    assert watch._stream is stream


@pytest.mark.parametrize('state', ['runs', 'hangs', 'is gone'])
def test_a_closed_watch_ends_its_thread(
    single: Etcd, connect: Connect, state: str
) -> None:
    store = connect(single.url)
    watches = [store.watch('/') for _ in range(3)]
    assert len(watch_threads()) == 3
    if state == 'hangs':
        single.members[0].pause()
    elif state == 'is gone':
        single.members[0].kill()
        assert eventually(lambda: not any(w._stream for w in watches))
    watches[0].close()
    watches[0].close()
    store.close()
    assert eventually(lambda: not watch_threads())
    assert [watch.wait(PATIENCE) for watch in watches] == [False] * 3


# Processes and threads


def in_a_child(call: Callable[[], bool]) -> bool:
    """Return what *call* returns in a forked child; False if it hangs."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE)
        good = False
        try:
            good = call()
        finally:
            os._exit(0 if good else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_a_watch_goes_on_in_parent_and_child(
    request: pytest.FixtureRequest,
    authority: Authority,
    connect: Connect,
    scheme: str,
) -> None:
    etcd: Etcd = request.getfixturevalue(
        'shared' if scheme == 'http' else 'secure'
    )
    query = '' if scheme == 'http' else query_of(authority, 'forking')
    store, other = connect(etcd.url + query), connect(etcd.url + query)
    watch = store.watch('/fork/')
    settle(watch)

    def child() -> bool:
        told = watch.wait(PATIENCE)  # that it may have missed something
        settle(watch)
        store.commit([], [Put('/fork/child', b'1')])
        told = told and watch.wait(PATIENCE)
        store.close()
        return told and not watch.wait(PATIENCE)

    assert in_a_child(child)
    assert watch.wait(PATIENCE)
    settle(watch)
    # Neither the child's end nor its close() has cut the parent off.
    stream = watch._stream
    assert in_a_child(lambda: store.close() is None)
    other.commit([], [Put('/fork/parent', b'1')])
    assert watch.wait(PATIENCE)
    assert watch._stream is stream
    assert store.get('/fork/child').value == b'1'


def test_a_child_and_its_parent_never_share_a_connection(
    store: driver.EtcdKeyValue,
) -> None:
    keys = [f'/shared/{n}' for n in range(4)]
    store.commit([], [Put(key, key.encode()) for key in keys])

    def read(key: str) -> bool:
        return all(store.get(key).value == key.encode() for _ in range(200))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        parent = [pool.submit(read, key) for key in keys]
        assert in_a_child(lambda: read(keys[0]))
        assert all(future.result(PATIENCE) for future in parent)


# TLS


def test_a_client_with_a_certificate_is_served(
    secure: Etcd, authority: Authority, connect: Connect
) -> None:
    store = connect(secure.url + query_of(authority, 'good'))
    watch = store.watch('/')
    settle(watch)
    assert store.commit([], [Put('/a', b'1')])
    assert watch.wait(PATIENCE)
    assert store.get('/a').value == b'1'
    lease = store.grant(PATIENCE)
    assert store.keep_alive(lease)
    store.revoke(lease)
    watch.close()
    assert eventually(lambda: not watch_threads())


def test_a_client_without_a_good_certificate_is_refused(
    secure: Etcd,
    authority: Authority,
    connect: Connect,
    tmp_path: pathlib.Path,
) -> None:
    stranger = Authority(tmp_path, 'stranger')
    strange = query_of(stranger, 'client')
    for query in (
        f'?ca={authority.ca}',
        strange.replace(str(stranger.ca), str(authority.ca)),
    ):
        for call in every_call(connect(secure.url + query)):
            assert secure.members[0].url in str(unavailable(call))


def test_an_etcd_of_another_authority_is_refused(
    secure: Etcd,
    authority: Authority,
    connect: Connect,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stranger = Authority(tmp_path, 'stranger')
    good = query_of(authority, 'client')
    # The environment may not widen whom the operator trusts.
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', str(authority.ca))
    monkeypatch.setenv('CURL_CA_BUNDLE', str(authority.ca))
    for query in (
        good.replace(str(authority.ca), str(stranger.ca)),
        good.replace(f'ca={authority.ca}&', ''),
    ):
        for call in every_call(connect(secure.url + query)):
            assert 'CERTIFICATE_VERIFY_FAILED' in str(unavailable(call))


def test_a_proxy_of_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch, store: driver.EtcdKeyValue
) -> None:
    for name in ('http_proxy', 'https_proxy', 'all_proxy'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')
    monkeypatch.delenv('no_proxy', raising=False)
    assert store.get('/none') is None


def test_a_cluster_with_tls_survives_the_loss_of_its_leader(
    authority: Authority, connect: Connect, tmp_path: pathlib.Path
) -> None:
    with Etcd(tmp_path / 'etcd', 3, authority=authority) as etcd:
        store = connect(etcd.url + query_of(authority, 'trio'))
        watch = store.watch('/')
        store.commit([], [Put('/a', b'1')])
        etcd.leader_first()[0].kill()
        assert at_last(lambda: store.commit([], [Put('/a', b'2')]))
        assert store.get('/a').value == b'2'
        assert watch.wait(PATIENCE)


# The domain on etcd


def template(name: str = 'a') -> objects.Template:
    """Return a template, whose content does not matter."""
    return objects.Template(
        digest=name * 64,
        size=1,
        position=0,
        checksum='0' * 32,
        hashing_algo='sha512',
        multihash='0' * 128,
        piece_size=1 << 20,
        created_at=0.0,
    )


def image(name: str) -> objects.Image:
    """Return an image of :func:`template`."""
    return objects.Image(name, template().digest, '0' * 32, 0.0)


@pytest.fixture
def catalogs(
    shared: Etcd, connect: Connect, request: pytest.FixtureRequest
) -> list[catalog.Catalog]:
    """Four hosts of one cluster."""
    return [
        catalog.Catalog(connect(shared.url), request.node.name)
        for _ in range(4)
    ]


def outcome(call: Callable[[], object]) -> object:
    """Return the result of *call*, or its error."""
    try:
        return call()
    except exceptions.TmplError as exc:
        return type(exc)


def test_one_of_many_hosts_binds_an_image(
    catalogs: list[catalog.Catalog],
) -> None:
    for n in range(5):
        outcomes = in_threads(
            *[
                lambda c=c, n=n: outcome(
                    lambda: c.bindings.bind(
                        image(f'image{n}'), template(), 'location'
                    )
                )
                for c in catalogs
            ]
        )
        assert outcomes.count(None) == 1
        assert outcomes.count(exceptions.Duplicate) == 3
    record = catalogs[0].bindings.template(template().digest)
    assert record.images == tuple(f'image{n}' for n in range(5))


def test_one_of_many_hosts_unbinds_an_image(
    catalogs: list[catalog.Catalog],
) -> None:
    catalogs[0].bindings.bind(image('one'), template(), 'location')
    outcomes = in_threads(
        *[
            lambda c=c: outcome(lambda: c.bindings.unbind(image('one')))
            for c in catalogs
        ]
    )
    assert outcomes.count(True) == 1
    assert outcomes.count(exceptions.NotFound) == 3
    assert catalogs[0].bindings.is_unreferenced(template().digest)


def test_hosts_that_bind_and_unbind_at_once_lose_no_image(
    catalogs: list[catalog.Catalog],
) -> None:
    def churn(host: int) -> None:
        for n in range(8):
            name = image(f'{host}-{n}')
            catalogs[host].bindings.bind(name, template(), f'location{host}')
            if n % 2:
                catalogs[host].bindings.unbind(name)

    in_threads(*[lambda h=host: churn(h) for host in range(4)])
    record = catalogs[0].bindings.template(template().digest)
    assert record.images == tuple(
        f'{host}-{n}' for host in range(4) for n in range(0, 8, 2)
    )
    assert record.deleted_at is None
    assert not catalogs[0].bindings.forget(template().digest)
    assert [
        copy.location_id for copy in catalogs[0].copies.of(template().digest)
    ] == [f'location{host}' for host in range(4)]


def test_a_template_is_forgotten_or_lives_again_but_not_both(
    catalogs: list[catalog.Catalog],
) -> None:
    digest = template().digest
    first, second, *_ = catalogs
    for n in range(10):
        first.bindings.bind(image('old'), template(), 'location')
        first.bindings.unbind(image('old'))
        first.copies.forget(digest, 'location')
        forgotten, _ = in_threads(
            lambda: first.bindings.forget(digest),
            lambda n=n: second.bindings.bind(
                image(f'new{n}'), template(), 'location'
            ),
        )
        record = first.bindings.template(digest)
        assert record is not None
        assert record.deleted_at is None
        assert f'new{n}' in record.images
        assert forgotten in (True, False)
        for image_id in record.images:
            first.bindings.unbind(image(image_id))


def test_a_template_of_many_images_takes_no_larger_transactions(
    catalogs: list[catalog.Catalog],
) -> None:
    # etcd takes 128 operations at most.
    names = [f'{n:03}' for n in range(150)]
    for name in names:
        catalogs[0].bindings.bind(image(name), template(), 'location')
    assert catalogs[1].bindings.template(template().digest).images == tuple(
        names
    )
    for name in names:
        catalogs[1].bindings.unbind(image(name))
    assert catalogs[0].bindings.is_unreferenced(template().digest)
