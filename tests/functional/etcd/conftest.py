# SPDX-License-Identifier: Apache-2.0
"""The etcds that the tests of the driver run on."""

import contextlib
import pathlib
from collections.abc import Iterator

import pytest

from harness.certificates import Authority
from harness.etcd import Etcd
from tests.contract.keyvalue import eventually
from tests.functional.etcd.support import Connect
from tests.functional.etcd.support import watch_threads
from tmpl_glance_store.catalog.etcd import driver
from tmpl_glance_store.catalog.etcd import members


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
    monkeypatch.setattr(members._RANDOM, 'randrange', lambda _: 0)
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
