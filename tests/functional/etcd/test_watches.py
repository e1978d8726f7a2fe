# SPDX-License-Identifier: Apache-2.0
"""Watches that go on, whatever befalls the members."""

from typing import Any

import pytest

from harness.etcd import Etcd
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import eventually
from tests.contract.keyvalue import settle
from tests.functional.etcd.support import Connect
from tests.functional.etcd.support import compact
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import wire


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
    request = wire.watch_request
    asked: list[str] = []

    def from_the_compacted_revision(prefix: str) -> dict[str, Any]:
        asked.append(prefix)
        if len(asked) > 1:
            return request(prefix)
        create = {**request(prefix)['create_request'], 'start_revision': 1}
        return {'create_request': create}

    monkeypatch.setattr(wire, 'watch_request', from_the_compacted_revision)
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
