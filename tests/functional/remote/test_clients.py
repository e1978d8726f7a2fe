# SPDX-License-Identifier: Apache-2.0
"""Hostile clients of the API harm nobody else."""

import contextlib
import time

import pytest

from tests.functional.remote.nodes import LONG
from tests.functional.remote.nodes import Node
from tests.functional.remote.nodes import Stored
from tests.functional.remote.nodes import is_cut
from tests.functional.remote.nodes import read
from tests.functional.remote.nodes import wait_until
from tmpl_glance_store import tls
from tmpl_glance_store.agent.http import server


def test_handshakes_that_do_not_end_harm_nobody(
    stored: Stored, files: tls.Files
) -> None:
    with (
        contextlib.ExitStack() as stack,
        Node(stored.root, files=files, threads=1, timeout=LONG) as node,
    ):
        for number in range(10):
            sock = stack.enter_context(node.connect())
            sock.sendall(b'\x16\x03\x01\x02\x00'[: number % 5])
        assert (
            read(stored, node.url, context=tls.client(files)) == stored.content
        )


def test_idle_connections_take_no_thread(stored: Stored) -> None:
    with (
        contextlib.ExitStack() as stack,
        Node(stored.root, threads=1, timeout=LONG) as node,
    ):
        for _ in range(10):
            stack.enter_context(node.connect())
        assert node.ask() == 200


@pytest.mark.parametrize('secure', [False, True])
def test_an_idle_connection_is_closed(
    stored: Stored, files: tls.Files, secure: bool
) -> None:
    with (
        Node(stored.root, files=files if secure else None, timeout=1) as node,
        node.connect() as sock,
    ):
        assert is_cut(sock)
        wait_until(lambda: node.value('connections') == 0)


def test_a_request_that_drips_in_is_cut(stored: Stored) -> None:
    with (
        Node(stored.root, threads=1, timeout=1) as node,
        node.connect() as sock,
    ):
        sock.sendall(b'GET / HTTP/1.1\r\nX: ')
        with pytest.raises(ConnectionError):
            while True:
                sock.sendall(b'x')
                time.sleep(0.05)
        wait_until(lambda: node.value('connections') == 0)
        assert node.value('refused_total', reason='slow') == 1
        assert node.ask() == 200


@pytest.mark.parametrize(
    'request_head',
    [
        b'GET /' + b'x' * 100000 + b' HTTP/1.1\r\n\r\n',
        b'GET / HTTP/1.1\r\n' + b'X: y\r\n' * 100000 + b'\r\n',
        b'GET / HTTP/1.1\r\nX: ' + b'x' * 100000 + b'\r\n\r\n',
        b'POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n',
        b'GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n',
        b'GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n',
        b'GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n',
        b'GET http://other/ HTTP/1.1\r\n\r\n',
        b'\r\n\r\n',
        b'\0' * 1000,
        b'GET\r\n\r\n',
        b'GET / HTTP/9.9\r\n\r\n',
        b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    ],
)
def test_a_request_that_is_none_ends_its_connection(
    stored: Stored, request_head: bytes
) -> None:
    with (
        Node(stored.root, threads=1, timeout=2, send_timeout=LONG) as node,
        node.connect() as sock,
    ):
        with contextlib.suppress(ConnectionError):
            sock.sendall(request_head)
        assert is_cut(sock)
        assert node.ask() == 200


def test_connections_are_bounded(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, '_CONNECTIONS', 8)
    with Node(stored.root, threads=1, timeout=LONG) as node:
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(node.connect())
            with node.connect() as sock:
                assert is_cut(sock)
            assert node.value('refused_total', reason='full') == 1
        wait_until(lambda: node.value('connections') == 0)
        assert node.ask() == 200
