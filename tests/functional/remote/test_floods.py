# SPDX-License-Identifier: Apache-2.0
"""One host, or one certificate, cannot keep the others out."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from harness import certificates
from tests.functional.remote.nodes import LONG
from tests.functional.remote.nodes import Node
from tests.functional.remote.nodes import Stored
from tests.functional.remote.nodes import read
from tests.functional.remote.nodes import wait_until
from tmpl_glance_store import exceptions
from tmpl_glance_store import tls

ATTACKER = '127.0.0.9'
RATE = 150  # connections a second
READS = 10


@contextlib.contextmanager
def flood(node: Node, *, hold: bool, sent: bytes) -> Iterator[list[int]]:
    """Connect all the time from one address, without a certificate."""
    stop = threading.Event()
    opened: list[int] = []
    held: list[socket.socket] = []

    def attack() -> None:
        while not stop.wait(1 / RATE):
            with contextlib.suppress(OSError):
                sock = socket.create_connection(
                    node.api.address, 1, source_address=(ATTACKER, 0)
                )
                opened.append(1)
                held.append(sock)
                sock.sendall(sent)
            if not hold or len(held) > 300:
                while held:
                    held.pop().close()

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        yield opened
    finally:
        stop.set()
        attacker.join()
        for sock in held:
            sock.close()


@pytest.mark.parametrize(
    ('hold', 'sent'), [(True, b''), (False, b''), (False, b'GET / \r\n\r\n')]
)
def test_a_flood_from_one_address_leaves_reads_to_others(
    stored: Stored,
    files: tls.Files,
    caplog: pytest.LogCaptureFixture,
    hold: bool,
    sent: bytes,
) -> None:
    caplog.set_level(logging.INFO)
    context = tls.client(files)
    good = 0
    with (
        Node(stored.root, files=files) as node,
        flood(node, hold=hold, sent=sent) as opened,
    ):
        wait_until(lambda: len(opened) > RATE)
        for _ in range(READS):
            with contextlib.suppress(exceptions.Unavailable):
                good += read(stored, node.url, context=context) == (
                    stored.content
                )
            time.sleep(0.2)
        assert node.value('refused_total', reason='address') > 0
    assert good >= READS - 1
    assert len(caplog.messages) < 20


def test_slow_readers_with_one_certificate_leave_reads_to_others(
    large: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    slow = tls.client(authority.node('slow', tls.NODE)).get()
    with (
        contextlib.ExitStack() as stack,
        Node(large.root, files=files) as node,
    ):
        asked = f'GET {large.path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode()
        for _ in range(60):
            with contextlib.suppress(OSError):
                sock = slow.wrap_socket(
                    stack.enter_context(node.connect()),
                    server_hostname=node.host,
                )
                stack.enter_context(sock)
                sock.sendall(asked)
        wait_until(lambda: node.value('streams') >= 30)
        assert node.value('streams') == 30
        assert (
            read(
                large,
                node.url,
                length=1 << 20,
                context=tls.client(files),
                timeout=LONG,
            )
            == large.content[: 1 << 20]
        )
