# SPDX-License-Identifier: Apache-2.0
"""Reading and writing: what is particular to etcd."""

import contextlib
import re
from collections.abc import Iterator, Sequence

import pytest

from harness.etcd import Etcd
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import settle
from tests.functional.etcd.support import Connect
from tests.functional.etcd.support import compact
from tests.functional.etcd.support import every_call
from tests.functional.etcd.support import unavailable
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog.contract import Delete
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import driver
from tmpl_glance_store.catalog.etcd import wire


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
    entries = [wire.entry(kv) for page in seen for kv in page]
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


def test_a_key_that_is_not_utf8_stops_nobody(
    shared: Etcd, store: driver.EtcdKeyValue
) -> None:
    client = shared.members[0].client
    with contextlib.closing(store.watch('/odd/')) as watch:
        settle(watch)
        client.post(
            client.get_url('/kv/put'),
            json={'key': wire.encode(b'/odd/\xff'), 'value': ''},
        )
        store.commit([], [Put('/odd/a', b'1')])
        keys = ['/odd/a', '/odd/\udcff']
        assert [each.key for each in store.list('/odd/')] == keys
        assert watch.wait(PATIENCE)
        settle(watch)
        assert {each.key for each in watch.take() or ()} == {*keys}


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
