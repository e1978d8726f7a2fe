# SPDX-License-Identifier: Apache-2.0
"""TLS between the driver and etcd."""

import pathlib

import pytest

from harness.certificates import Authority
from harness.etcd import Etcd
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import eventually
from tests.contract.keyvalue import settle
from tests.functional.etcd.support import Connect
from tests.functional.etcd.support import at_last
from tests.functional.etcd.support import every_call
from tests.functional.etcd.support import query_of
from tests.functional.etcd.support import unavailable
from tests.functional.etcd.support import watch_threads
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import driver


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
