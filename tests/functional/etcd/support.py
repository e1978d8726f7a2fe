# SPDX-License-Identifier: Apache-2.0
"""What the tests of the etcd driver ask of it, and of etcd."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from harness.certificates import Authority
from harness.etcd import Etcd
from harness.etcd import Member
from tests.contract.keyvalue import PATIENCE
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import roles
from tmpl_glance_store.catalog.contract import Compare
from tmpl_glance_store.catalog.contract import KeyValue
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import driver
from tmpl_glance_store.catalog.etcd import wire

Connect = Callable[[str], driver.EtcdKeyValue]


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
        lambda: store.get_all(['/a', '/b']),
        lambda: store.moment('/a'),
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


def require_users(
    etcd: Etcd, users: Mapping[str, Sequence[roles.Grant]], password: str
) -> None:
    """Let *etcd* want users: root, and these with their rights."""
    client = etcd.members[0].client

    def ask(path: str, **what: object) -> None:
        client.post(client.get_url(f'/auth/{path}'), json=what)

    for user, grants in {'root': [], **users}.items():
        ask('user/add', name=user, password=password)
        ask('role/add', name=user)
        ask('user/grant', user=user, role=user)
        for grant in grants:
            ask(
                'role/grant',
                name=user,
                perm={
                    'permType': grant.permission.upper(),
                    'key': wire.encode(grant.key),
                    'range_end': wire.encode(grant.range_end),
                },
            )
    ask('enable')


def compact(member: Member) -> None:
    """Forget all revisions but the last."""
    client = member.client
    status: Any = client.status()
    client.post(
        client.get_url('/kv/compaction'),
        json={'revision': status['header']['revision'], 'physical': True},
    )
