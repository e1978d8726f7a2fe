# SPDX-License-Identifier: Apache-2.0
"""The etcd driver on a gateway in this process.

tests/functional/etcd runs the same contract on the real etcd, and all that
may befall its members.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.contract import keyvalue
from tests.unit.catalog.etcd import gateway
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog.contract import KeyValue
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import driver
from tmpl_glance_store.catalog.etcd import watch as etcd_watch


@pytest.fixture(scope='module')
def etcd() -> Iterator[gateway.Gateway]:
    """A gateway for all tests: none leaves it other than it was."""
    with gateway.Gateway() as etcd:
        yield etcd


class TestEtcdKeyValue(keyvalue.KeyValueContract):
    @pytest.fixture
    def make_store(self, etcd: gateway.Gateway) -> Callable[[], KeyValue]:
        return lambda: driver.EtcdKeyValue(etcd.url)


@pytest.fixture
def store(etcd: gateway.Gateway) -> Iterator[driver.EtcdKeyValue]:
    """One handle."""
    store = driver.EtcdKeyValue(etcd.url)
    yield store
    store.close()


def test_a_long_list_comes_in_pages(
    store: driver.EtcdKeyValue,
    etcd: gateway.Gateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, '_PAGE', 3)
    keys = [f'/pages/{n}' for n in range(8)]
    store.commit([], [Put(key, b'1') for key in keys])
    etcd.store.asked.clear()
    assert [each.key for each in store.list('/pages/')] == keys
    assert etcd.store.asked == ['/v3/kv/range'] * 3


def test_a_watch_that_takes_nothing_is_told_to_list_all_anew(
    store: driver.EtcdKeyValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch, '_MOST_CHANGES', 3)
    watch = store.watch('/many/')
    store.commit([], [Put(f'/many/{n}', b'1') for n in range(4)])
    assert watch.wait(keyvalue.PATIENCE)
    assert watch.take() is None
    assert watch.take() == ()


def test_a_watch_goes_on_after_its_stream_was_lost(
    store: driver.EtcdKeyValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch, '_SHORTEST_PAUSE', 0.01)
    watch = store.watch('/lost/')
    keyvalue.settle(watch)
    watch.distrust(watch._stream.endpoint)  # type: ignore
    assert watch.wait(keyvalue.PATIENCE)
    assert watch.take() is None
    store.commit([], [Put('/lost/a', b'1')])
    assert keyvalue.eventually(watch.take)


def test_where_nobody_listens_everything_is_unavailable() -> None:
    with gateway.Gateway() as gone:
        store = driver.EtcdKeyValue(gone.url)
    for call in (
        lambda: store.get('/a'),
        lambda: store.list('/'),
        lambda: store.commit([], [Put('/a', b'1')]),
        lambda: store.grant(60),
        lambda: store.watch('/'),
    ):
        with pytest.raises(exceptions.Unavailable, match=r'127\.0\.0\.1'):
            call()
