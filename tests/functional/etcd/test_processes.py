# SPDX-License-Identifier: Apache-2.0
"""Connections of several processes and threads."""

import concurrent.futures
import os
import signal
from collections.abc import Callable

import pytest

from harness.certificates import Authority
from harness.etcd import Etcd
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import settle
from tests.functional.etcd.support import Connect
from tests.functional.etcd.support import query_of
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import driver


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
