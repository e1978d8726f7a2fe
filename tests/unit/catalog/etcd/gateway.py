# SPDX-License-Identifier: Apache-2.0
"""As much of etcd's JSON gateway as the driver asks for, in this process.

It passes the same contract as the real one; what only several members can do
is tested on those.
"""

import base64
import dataclasses
import http.server
import itertools
import json
import queue
import threading
import time
from typing import Any

_IDENTITY, _READ = '1234', 'request_range'
_TICK = 0.02  # seconds between two looks for leases that have expired


@dataclasses.dataclass
class _Value:
    data: str
    revision: int
    lease: int


class Store:
    """What etcd keeps; one lock is all its consistency."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.revision = 1
        self.asked: list[str] = []
        self._values: dict[bytes, _Value] = {}
        self._leases: dict[int, tuple[int, float]] = {}  # ttl, deadline
        self._watches: dict[queue.SimpleQueue[Any], dict[str, str]] = {}
        self._ids = itertools.count(1)

    def answer(self, path: str, asked: dict[str, Any]) -> Any:
        """Return the answer; None if there is no such lease."""
        with self.lock:
            self.asked.append(path)
            self.expire()
            name = path.removeprefix('/v3/').replace('/', '_')
            return getattr(self, f'_{name}')(asked)

    def expire(self) -> None:
        """Remove the keys of the leases whose time is over."""
        with self.lock:
            now = time.monotonic()
            for lease, (_, deadline) in list(self._leases.items()):
                if deadline < now:
                    self._lease_revoke({'ID': lease})

    def watch(self, asked: dict[str, Any]) -> queue.SimpleQueue[Any]:
        """Return where a watch is told of changes."""
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self.lock:
            self._watches[told] = asked['create_request']
        return told

    def end(self, told: queue.SimpleQueue[Any]) -> None:
        """Forget a watch."""
        with self.lock:
            self._watches.pop(told, None)

    def _kv_range(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = sorted(k for k in self._values if _is_within(k, asked))
        page = found[: asked.get('limit') or None]
        return {
            'header': {
                'cluster_id': _IDENTITY,
                'revision': str(self.revision),
            },
            'kvs': [self._kv(key) for key in page],
            'more': len(page) < len(found),
        }

    def _kv(self, key: bytes) -> dict[str, str]:
        value = self._values[key]
        return {
            'key': _encode(key),
            'value': value.data,
            'mod_revision': str(value.revision),
        }

    def _kv_txn(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        for each in asked.get('compare', ()):
            known = self._values.get(base64.b64decode(each['key']))
            if each['mod_revision'] != (known.revision if known else 0):
                return {}
        writes = asked['success']
        if any(
            each.get('request_put', {}).get('lease', 0)
            not in {0, *self._leases}
            for each in writes
        ):
            return None
        reads = [each['request_range'] for each in writes if _READ in each]
        if reads:
            return {
                'succeeded': True,
                'responses': [
                    {'response_range': self._kv_range(each)} for each in reads
                ],
            }
        self._write(writes)
        return {'succeeded': True}

    def _write(self, writes: list[dict[str, Any]]) -> None:
        self.revision += 1
        events: list[dict[str, Any]] = []
        for each in writes:
            if put := each.get('request_put'):
                key = base64.b64decode(put['key'])
                self._values[key] = _Value(
                    put['value'], self.revision, put['lease']
                )
                events.append({'kv': self._kv(key)})
            elif gone := each.get('request_delete_range'):
                key = base64.b64decode(gone['key'])
                if self._values.pop(key, None):
                    kv = {'key': gone['key'], 'mod_revision': self.revision}
                    events.append({'kv': kv, 'type': 'DELETE'})
        for told, asked in self._watches.items():
            news = [
                each
                for each in events
                if _is_within(base64.b64decode(each['kv']['key']), asked)
            ]
            if news:
                told.put(news)

    def _lease_grant(self, asked: dict[str, Any]) -> dict[str, Any]:
        lease, ttl = next(self._ids), asked['TTL']
        self._leases[lease] = ttl, time.monotonic() + ttl
        return {'ID': str(lease)}

    def _lease_keepalive(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked['ID'] not in self._leases:
            return {'result': {}}
        ttl, _ = self._leases[asked['ID']]
        self._leases[asked['ID']] = ttl, time.monotonic() + ttl
        return {'result': {'TTL': str(ttl)}}

    def _lease_revoke(self, asked: dict[str, Any]) -> Any:
        if self._leases.pop(asked['ID'], None) is None:
            return None
        self._write(
            [
                {'request_delete_range': {'key': _encode(key)}}
                for key, value in self._values.items()
                if value.lease == asked['ID']
            ]
        )
        return {}


def _is_within(key: bytes, asked: dict[str, str]) -> bool:
    start = base64.b64decode(asked['key'])
    if 'range_end' not in asked:
        return key == start
    end = base64.b64decode(asked['range_end'])
    return start <= key and (end == b'\0' or key < end)


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode()


class Gateway(http.server.ThreadingHTTPServer):
    """The server, on a port of loopback; use it as a context."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.store = Store()
        self.closed = threading.Event()
        threading.Thread(
            target=self.serve_forever, args=(_TICK,), daemon=True
        ).start()

    @property
    def url(self) -> str:
        """The URL of a catalog on it."""
        return f'etcd+http://127.0.0.1:{self.server_port}'

    def service_actions(self) -> None:
        """Look for leases that have expired."""
        self.store.expire()

    def __exit__(self, *args: object) -> None:
        self.closed.set()
        self.shutdown()
        super().__exit__(*args)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    server: Gateway

    def do_POST(self) -> None:
        length = int(self.headers['Content-Length'])
        asked = json.loads(self.rfile.read(length))
        if self.path == '/v3/watch':
            self._stream(asked)
            return
        answer = self.server.store.answer(self.path, asked)
        if answer is None:
            self._send(404, {'code': 5, 'message': 'lease not found'})
        else:
            self._send(200, answer)

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, asked: dict[str, Any]) -> None:
        told = self.server.store.watch(asked)
        self.send_response(200)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        self.close_connection = True
        try:
            self._chunk({'created': True})
            while not self.server.closed.is_set():
                try:
                    self._chunk({'events': told.get(timeout=0.2)})
                except queue.Empty:
                    continue
        except OSError:
            pass  # nobody listens any more
        finally:
            self.server.store.end(told)

    def _chunk(self, result: dict[str, Any]) -> None:
        line = json.dumps({'result': result}).encode() + b'\n'
        self.wfile.write(b'%x\r\n%s\r\n' % (len(line), line))
        self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""
