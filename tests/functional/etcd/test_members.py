# SPDX-License-Identifier: Apache-2.0
"""Several members, of which some are lost."""

import concurrent.futures
import contextlib
import itertools
import threading
import time

from harness.etcd import Etcd
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import eventually
from tests.contract.keyvalue import in_threads
from tests.contract.keyvalue import settle
from tests.functional.etcd.support import Connect
from tests.functional.etcd.support import at_last
from tests.functional.etcd.support import every_call
from tests.functional.etcd.support import unavailable
from tests.functional.etcd.support import versions
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog.contract import Compare
from tmpl_glance_store.catalog.contract import Put


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
