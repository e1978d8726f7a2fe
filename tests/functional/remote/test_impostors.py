# SPDX-License-Identifier: Apache-2.0
"""Whatever answers at the address of a holder."""

import contextlib
import pathlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

import pytest

from tests.functional.remote.nodes import MIB
from tests.functional.remote.nodes import PIECE
from tests.functional.remote.nodes import Node
from tests.functional.remote.nodes import Stored
from tests.functional.remote.nodes import free_port
from tests.functional.remote.nodes import read
from tests.functional.remote.nodes import store
from tmpl_glance_store import exceptions
from tmpl_glance_store.remote import http as remote_http
from tmpl_glance_store.remote import templates


class Impostor:
    """Something at a holder's address that is no agent.

    :param answer: is given the connection, once there is a request
    """

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(('127.0.0.2', 0))
        self.url = f'http://127.0.0.2:{self._listener.getsockname()[1]}'
        self.asked = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread in accept() would not notice that it is closed.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, contextlib.suppress(OSError):
                    client.recv(4096)
                    self.asked += 1
                    self._answer(client)


_HEAD = (
    f'HTTP/1.1 206 Partial Content\r\n'
    f'Content-Length: {PIECE}\r\n'
    f'Content-Range: bytes 0-{PIECE - 1}/{PIECE}\r\n\r\n'
).encode()


def _wait_for_the_end(client: socket.socket) -> None:
    while client.recv(4096):
        pass


def _stall_at_once(client: socket.socket) -> None:
    _wait_for_the_end(client)


def _stall_in_the_middle(client: socket.socket) -> None:
    client.sendall(_HEAD + bytes(PIECE // 2))
    _wait_for_the_end(client)


def _drip(client: socket.socket) -> None:
    client.sendall(_HEAD)
    while True:
        client.sendall(b'x')
        time.sleep(0.01)


def _drip_headers(client: socket.socket) -> None:
    client.sendall(b'HTTP/1.1 206 Partial Content\r\n')
    while True:
        client.sendall(b'X')
        time.sleep(0.01)


def _continue_for_ever(client: socket.socket) -> None:
    while True:
        client.sendall(b'HTTP/1.1 100 Continue\r\n\r\n')


def _end_early(client: socket.socket) -> None:
    client.sendall(_HEAD + bytes(PIECE // 2))


def _end_at_once(client: socket.socket) -> None:
    pass


def _fail(client: socket.socket) -> None:
    client.sendall(b'HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n')


def _redirect(client: socket.socket) -> None:
    client.sendall(
        b'HTTP/1.1 302 There\r\nLocation: http://127.0.0.1/\r\n'
        b'Content-Length: 0\r\n\r\n'
    )


def _ignore_the_range(client: socket.socket) -> None:
    client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')


def _be_endless(client: socket.socket) -> None:
    client.sendall(
        _HEAD.replace(b'Content-Length', b'X-Length').replace(
            b'\r\n\r\n', b'\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n'
        )
        + bytes(65536)
    )
    _wait_for_the_end(client)


def _speak_another_language(client: socket.socket) -> None:
    client.sendall(b'220 smtp.example.org ESMTP' + b'!' * 100000 + b'\r\n')


def _send_many_headers(client: socket.socket) -> None:
    client.sendall(b'HTTP/1.1 206 Partial Content\r\n')
    while True:
        client.sendall(b'X-Header: value\r\n' * 100)


@pytest.mark.parametrize(
    'answer',
    [
        _stall_at_once,
        _stall_in_the_middle,
        _drip,
        _drip_headers,
        _continue_for_ever,
        _end_early,
        _end_at_once,
        _fail,
        _redirect,
        _ignore_the_range,
        _be_endless,
        _speak_another_language,
        _send_many_headers,
    ],
)
def test_whatever_a_holder_does_the_next_one_gives_the_bytes(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[socket.socket], None],
) -> None:
    # A template of one piece: the first request is that for its bytes.
    stored = store(tmp_path / 'location', PIECE)
    monkeypatch.setattr(remote_http, '_MIN_RATE', MIB)
    with Impostor(answer) as impostor, Node(stored.root) as node:
        file = templates.RemoteTemplates(timeout=2).open(
            stored.template, [impostor.url, node.url]
        )
        assert b''.join(file) == stored.content
        assert impostor.asked == 1


def test_when_all_holders_fail_the_reason_of_each_is_told(
    tmp_path: pathlib.Path, stored: Stored
) -> None:
    gone = f'http://127.0.0.1:{free_port()}'
    with Node(tmp_path) as node, Impostor(_fail) as impostor:
        with pytest.raises(exceptions.Unavailable) as failure:
            read(stored, gone, node.url, impostor.url)
        for url, reason in (
            (gone, 'ConnectionRefusedError'),
            (node.url, 'answered 404'),
            (impostor.url, 'answered 500'),
        ):
            assert f'{url}: {reason}' in str(failure.value)
