# SPDX-License-Identifier: Apache-2.0
"""The key-value contract on the real etcd."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from harness.certificates import Authority
from harness.etcd import Etcd
from tests.contract import keyvalue
from tests.functional.etcd.support import query_of
from tmpl_glance_store.catalog.contract import KeyValue
from tmpl_glance_store.catalog.etcd import driver
from tmpl_glance_store.catalog.etcd import members


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
            members._RANDOM, 'randrange', lambda _: next(numbers)
        )
        url = cluster.url + query_of(authority, 'contract')
        return lambda: driver.EtcdKeyValue(url)
