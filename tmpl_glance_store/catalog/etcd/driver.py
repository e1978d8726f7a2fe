# SPDX-License-Identifier: Apache-2.0
"""The key-value contract on etcd: for the nodes of a cluster.

Speaks to the JSON gateway of etcd 3.4 or later, through etcd3gw. Every
request has a bounded time, and is refused by a member without a leader. What
fails at one member is asked of the next, except a commit that may have been
carried out.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import etcd3gw

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog.etcd import auth as etcd_auth
from tmpl_glance_store.catalog.etcd import connection
from tmpl_glance_store.catalog.etcd import failures
from tmpl_glance_store.catalog.etcd import members as etcd_members
from tmpl_glance_store.catalog.etcd import stream as etcd_stream
from tmpl_glance_store.catalog.etcd import url as etcd_url
from tmpl_glance_store.catalog.etcd import watch as etcd_watch
from tmpl_glance_store.catalog.etcd import wire

_PAGE = 500  # entries in one answer
_OPERATIONS = 128  # in one transaction: etcd's --max-txn-ops

_Answer = TypeVar('_Answer')


class EtcdKeyValue(contract.KeyValue):
    """See the contract.

    What the user may not do raises Forbidden. Whatever else etcd refuses, for
    want of space, say, raises Unavailable too: nobody knows the answer until
    etcd has been put right.

    :param url: ``etcd+http://host:port``, or ``etcd+https://host:port`` with
        ``?ca=/path&cert=/path&key=/path``, all three optional; the host may
        be followed by ``,host:port`` for each further member; and with
        ``user=name&password_file=/path`` where etcd wants a user
    :raises BadConfiguration: if the URL has another form, or its files are
        not what they should be
    """

    def __init__(self, url: str) -> None:
        address = etcd_url.parse(url)
        self._tls = address.tls
        self._auth = (
            etcd_auth.TokenAuth(
                address.user.name,
                address.user.password_file,
                self._authenticate,
            )
            if address.user
            else None
        )
        self._members = etcd_members.Members(
            address.endpoints, self._on_failure
        )
        self._local = threading.local()
        self._watches: set[etcd_watch.Watch] = set()

    def get(self, key: str) -> contract.Entry | None:
        found = self._call('/kv/range', {'key': wire.encode(key)})
        return next(map(wire.entry, found.get('kvs', ())), None)

    def get_all(self, keys: Sequence[str]) -> list[contract.Entry]:
        found: list[contract.Entry] = []
        for start in range(0, len(keys), _OPERATIONS):
            done = self._call(
                '/kv/txn',
                {
                    'success': [
                        {'request_range': {'key': wire.encode(key)}}
                        for key in keys[start : start + _OPERATIONS]
                    ]
                },
            )
            for each in done.get('responses', ()):
                kvs = each['response_range'].get('kvs', ())
                found += map(wire.entry, kvs)
        return found

    def moment(self, key: str) -> contract.Moment:
        header = self._call(
            '/kv/range', {'key': wire.encode(key), 'count_only': True}
        )['header']
        return contract.Moment(header['cluster_id'], int(header['revision']))

    def list(self, prefix: str) -> list[contract.Entry]:
        try:
            return [*self._entries(prefix)]
        except failures.Failure as exc:
            if exc.code != failures.OUT_OF_RANGE:
                raise
        # Compacted between two pages, which happens every few minutes.
        return [*self._entries(prefix)]

    def commit(
        self,
        compares: Sequence[contract.Compare],
        writes: Sequence[contract.Put | contract.Delete],
    ) -> bool:
        # etcd refuses to write a key twice; the last one counts.
        last_writes = {write.key: write for write in writes}.values()
        request = {
            'compare': [wire.comparison(item) for item in compares],
            'success': [wire.operation(item) for item in last_writes],
        }
        if not writes:
            if not compares:
                return True
            # Without any operation a member would compare with what it knows
            # itself, which may not be the latest. So read a key that has to
            # be readable for the comparison anyhow.
            request['success'] = [
                {
                    'request_range': {
                        'key': wire.encode(compares[0].key),
                        'count_only': True,
                    }
                }
            ]
        try:
            done = self._call('/kv/txn', request, repeatable=not writes)
        except failures.Failure as exc:
            if exc.code == failures.NOT_FOUND:
                raise exceptions.NotFound('a lease has expired') from exc
            raise
        return bool(done.get('succeeded'))

    def grant(self, ttl: int) -> int:
        # If it is granted twice, one expires and has never had a key.
        return int(self._call('/lease/grant', {'TTL': ttl})['ID'])

    def keep_alive(self, lease: int) -> bool:
        kept = self._call('/lease/keepalive', {'ID': lease})['result']
        return int(kept.get('TTL', 0)) > 0

    def revoke(self, lease: int) -> None:
        try:
            self._call('/lease/revoke', {'ID': lease})
        except failures.Failure as exc:
            if exc.code != failures.NOT_FOUND:
                raise

    def watch(self, prefix: str) -> contract.Watch:
        watch = etcd_watch.Watch(
            lambda: self._open_stream(prefix),
            prefix,
            on_close=self._watches.discard,
        )
        self._watches.add(watch)
        return watch

    def close(self) -> None:
        """Give up all watches, and the connections of this thread.

        Those of another thread end with it.
        """
        for watch in tuple(self._watches):
            watch.close()
        pid, clients = getattr(self._local, 'current', (0, {}))
        if pid == os.getpid():
            for client in clients.values():
                client.session.close()
            del self._local.current

    def _entries(self, prefix: str) -> Iterator[contract.Entry]:
        for page in self._pages(prefix):
            yield from map(wire.entry, page)

    def _pages(self, prefix: str) -> Iterator[Sequence[dict[str, str]]]:
        request = {**wire.range_of(prefix), 'limit': _PAGE}
        more = True
        while more:
            answer = self._call('/kv/range', request)
            page = answer.get('kvs', ())
            yield page
            more = answer.get('more', False)
            if more:
                request['key'] = wire.encode(
                    wire.decode(page[-1]['key']) + b'\0'
                )
                # All pages show the same instant.
                request.setdefault('revision', answer['header']['revision'])

    def _call(
        self, path: str, request: Mapping[str, Any], repeatable: bool = True
    ) -> Any:
        def post(endpoint: etcd_url.Endpoint) -> Any:
            client = self._client(endpoint)
            with failures.translated(endpoint):
                return client.post(client.get_url(path), json=request)

        return self._ask(post, repeatable)

    def _ask(
        self,
        question: Callable[[etcd_url.Endpoint], _Answer],
        repeatable: bool = True,
    ) -> _Answer:
        """Ask the members.

        :raises Forbidden: if the user may not do that
        """
        try:
            return self._members.ask(question, repeatable)
        except failures.Failure as exc:
            if exc.code == failures.PERMISSION_DENIED:
                raise exceptions.Forbidden(str(exc)) from exc
            raise

    def _open_stream(self, prefix: str) -> etcd_stream.Stream:
        def stream(endpoint: etcd_url.Endpoint) -> etcd_stream.Stream:
            if self._auth is not None:
                self._auth.forget()
            return etcd_stream.Stream(
                endpoint,
                connection.connect(endpoint, self._tls, self._auth),
                wire.watch_request(prefix),
            )

        return self._ask(stream)

    def _authenticate(self, url: str, user: str, password: str) -> str:
        """Return a token of the member at *url*."""
        client = connection.connect(etcd_url.Endpoint.of(url), self._tls)
        with client.session:
            answer = client.post(
                client.get_url('/auth/authenticate'),
                json={'name': user, 'password': password},
            )
        return str(answer['token'])

    def _on_failure(self, failure: failures.Failure) -> None:
        # A member that hangs keeps its streams open: the watches would not
        # know that they are told nothing.
        if failure.timed_out:
            for watch in tuple(self._watches):
                watch.distrust(failure.endpoint)

    def _client(self, endpoint: etcd_url.Endpoint) -> etcd3gw.Etcd3Client:
        # requests does not promise that threads may share a session, and
        # processes must not share a connection.
        clients: dict[etcd_url.Endpoint, etcd3gw.Etcd3Client]
        pid, clients = getattr(self._local, 'current', (0, {}))
        if pid != os.getpid():
            clients = {}
            self._local.current = os.getpid(), clients
        if endpoint not in clients:
            clients[endpoint] = connection.connect(
                endpoint, self._tls, self._auth
            )
        return clients[endpoint]
