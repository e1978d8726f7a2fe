# SPDX-License-Identifier: Apache-2.0
"""Watches that are told little, too much, or no more."""

import pathlib

import pytest
import requests

from harness.etcd import Etcd
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import eventually
from tests.contract.keyvalue import settle
from tests.functional.etcd.support import Connect
from tests.functional.etcd.support import watch_threads
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import connection
from tmpl_glance_store.catalog.etcd import driver
from tmpl_glance_store.catalog.etcd import stream as etcd_stream


def test_a_watch_replaces_a_stream_that_does_not_say_that_it_lives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, connect: Connect
) -> None:
    monkeypatch.setattr(etcd_stream, '_SILENCE', 5)
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
    monkeypatch.setattr(
        connection, '_ANSWER_TIMEOUT', 3
    )  # not for its silence

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
