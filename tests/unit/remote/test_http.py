# SPDX-License-Identifier: Apache-2.0
"""The connection by HTTP, to a holder at the other end of a socket pair."""

import contextlib
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from harness import contents
from tmpl_glance_store.remote import contract
from tmpl_glance_store.remote import http

WHAT = contents.content(random.Random(5).randbytes(300_000))
END = 1000

Answer = Callable[[str], bytes]


def ok(body: bytes, status: str = '200 OK', head: str = '') -> bytes:
    """Return an answer."""
    return (
        f'HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n'
    ).encode() + body


def part(start: int, end: int) -> bytes:
    """Return the answer to a request for a range."""
    return ok(
        WHAT.data[start:end],
        '206 Partial Content',
        f'Content-Range: bytes {start}-{end - 1}/{len(WHAT.data)}\r\n',
    )


class Holder:
    """Answers the requests of one connection after another."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request: ok(b'{}')
        self.requests: list[str] = []
        self.connections = 0
        self._serving: list[threading.Thread] = []

    def connect(self, address: object, timeout: float) -> socket.socket:
        """Take the place of ``socket.create_connection``."""
        ours, theirs = socket.socketpair()
        self.connections += 1
        serving = threading.Thread(target=self._serve, args=(theirs,))
        self._serving.append(serving)
        serving.start()
        return ours

    def join(self) -> None:
        """Wait until all connections have ended."""
        for each in self._serving:
            each.join(10)

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),  # who asked is gone
            client,
            client.makefile('rb') as file,
        ):
            while head := file.readline():
                request = head.decode()
                while (line := file.readline()) not in (b'\r\n', b''):
                    request += line.decode()
                self.requests.append(request)
                answer = self.answer(request)
                client.sendall(answer)
                if b'close' in answer[:200]:
                    return


@pytest.fixture
def holder(monkeypatch: pytest.MonkeyPatch) -> Holder:
    """A holder; nothing else can be connected to."""
    holder = Holder()
    monkeypatch.setattr(socket, 'create_connection', holder.connect)
    return holder


@pytest.fixture
def connection(holder: Holder) -> Iterator[http.HttpConnection]:
    """A connection to the holder."""
    connection = http.HttpConnection('http://127.0.0.1:80', None, 10)
    yield connection
    connection.close()
    holder.join()


def test_a_layer_is_asked_for_by_its_digest(
    holder: Holder, connection: http.HttpConnection
) -> None:
    holder.answer = lambda request: ok(WHAT.pieces)
    assert connection.layer(WHAT.template) == WHAT.pieces
    assert holder.requests[0].startswith(
        f'GET /v1/templates/{WHAT.digest}/pieces HTTP/1.1\r\n'
    )


def test_a_layer_of_another_length_is_a_lie(
    holder: Holder, connection: http.HttpConnection
) -> None:
    holder.answer = lambda request: ok(WHAT.pieces + b'x')
    with pytest.raises(contract.HolderLied, match='layer of 65 bytes'):
        connection.layer(WHAT.template)


def test_a_range_is_asked_for_and_read_in_steps(
    holder: Holder, connection: http.HttpConnection
) -> None:
    holder.answer = lambda request: part(10, END)
    connection.start(WHAT.template, 10, END)
    data = bytearray(END - 10)
    connection.read_into(memoryview(data)[:500])
    connection.read_into(memoryview(data)[500:])
    assert data == WHAT.data[10:END]
    assert f'Range: bytes=10-{END - 1}\r\n' in holder.requests[0]


@pytest.mark.parametrize(
    ('answer', 'reason'),
    [
        (part(0, END - 1), 'other bytes'),
        (part(1, END + 1), 'other bytes'),
        (ok(WHAT.data[:END], '206 Partial Content'), 'other bytes'),
        (ok(WHAT.data), 'answered 200'),
        (ok(b'', '302 Found', 'Location: http://127.0.0.1/\r\n'), '302'),
        (ok(b'', '404 Not Found'), 'answered 404'),
        (b'220 smtp ESMTP close\r\n\r\n', 'BadStatusLine'),
        (b'HTTP/1.1 206 P\r\n' + b'X: close\r\n' * 200, 'HTTPException'),
    ],
)
def test_another_answer_is_a_failure(
    holder: Holder,
    connection: http.HttpConnection,
    answer: bytes,
    reason: str,
) -> None:
    holder.answer = lambda request: answer
    with pytest.raises(contract.HolderFailed, match=reason):
        connection.start(WHAT.template, 0, END)


def test_an_early_end_is_a_failure(
    holder: Holder, connection: http.HttpConnection
) -> None:
    holder.answer = lambda request: part(0, END)[:-1].replace(
        b'\r\n\r\n', b'\r\nConnection: close\r\n\r\n'
    )
    connection.start(WHAT.template, 0, END)
    with pytest.raises(contract.HolderFailed, match='ended early'):
        connection.read_into(memoryview(bytearray(END)))


def test_after_its_deadline_an_answer_is_not_waited_for(
    holder: Holder,
    connection: http.HttpConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(http.time, 'monotonic', lambda: now)

    def late(request: str) -> bytes:
        nonlocal now
        now = 11.0
        return b'HTTP/1.1 100 Continue\r\n\r\n' * 1000

    holder.answer = late
    with pytest.raises(contract.HolderFailed, match='too slow'):
        connection.start(WHAT.template, 0, END)


def test_one_connection_serves_until_it_is_closed(
    holder: Holder, connection: http.HttpConnection
) -> None:
    for _ in range(3):
        assert connection.status() == {}
    assert holder.connections == 1
    holder.answer = lambda request: ok(b'{}', head='Connection: close\r\n')
    for _ in range(2):
        assert connection.status() == {}
    assert holder.connections == 2


@pytest.mark.parametrize(
    ('body', 'reason'),
    [
        (b'[]', 'no object'),
        (b'{', 'JSONDecodeError'),
        (b'[' * 100_000, 'RecursionError'),
        (b'\xff', 'UnicodeDecodeError'),
    ],
)
def test_a_status_that_is_none_is_a_failure(
    holder: Holder,
    connection: http.HttpConnection,
    body: bytes,
    reason: str,
) -> None:
    holder.answer = lambda request: ok(body)
    with pytest.raises(contract.HolderFailed, match=reason):
        connection.status()


def test_a_status_that_is_too_large_is_not_read(
    holder: Holder,
    connection: http.HttpConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, '_MAX_STATUS', 20)
    holder.answer = lambda request: ok(json.dumps('x' * 20).encode())
    with pytest.raises(contract.HolderFailed, match='status of 22 bytes'):
        connection.status()


def test_what_a_holder_says_gives_no_orders_to_a_terminal(
    holder: Holder, connection: http.HttpConnection
) -> None:
    holder.answer = lambda request: b'\x1b]0;owned\x07 close\r\n\r\n'
    with pytest.raises(contract.HolderFailed, match='owned') as error:
        connection.status()
    assert str(error.value).isprintable()
