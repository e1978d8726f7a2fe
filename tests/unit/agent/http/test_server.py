# SPDX-License-Identifier: Apache-2.0
"""The bounds of the API's server, on sockets that lead nowhere."""

import contextlib
import socket
import ssl
from collections.abc import Iterator

import prometheus_client
import pytest

from tests.unit.agent.virtual import Clock
from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent.http import clients
from tmpl_glance_store.agent.http import connection
from tmpl_glance_store.agent.http import server

TIMEOUT = 10
SEND_TIMEOUT = 60


class Bench:
    """A server that does not listen, and its connections."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.clock = Clock()
        self.registry = prometheus_client.CollectorRegistry()
        self.server = server.Server(
            ('127.0.0.1', 0),
            lambda environ, start: [],
            api_metrics.ApiMetrics(self.registry),
            1,
            TIMEOUT,
            SEND_TIMEOUT,
            self.clock,
        )
        self.idle: list[connection.Connection] = []
        # Instead of cheroot's selector.
        self.server.put_conn = self.idle.append

    def connect(self) -> tuple[connection.Connection, socket.socket]:
        """Return (the connection as the server has it, the client's end)."""
        ours, theirs = socket.socketpair()
        theirs.settimeout(5)
        self._stack.callback(theirs.close)
        made = connection.Connection(self.server, ours)
        made.last_used = None
        made.remote_addr = 'a client'
        self._stack.callback(made.close)
        return made, theirs

    def admit(self) -> tuple[connection.Connection, socket.socket]:
        """Return a connection that the server has taken up."""
        made, theirs = self.connect()
        self.server.process_conn(made)
        return made, theirs

    def refused(self, reason: str) -> float | None:
        """Return how many connections were refused or cut for that reason."""
        return self.registry.get_sample_value(
            'tmpl_api_refused_total', {'reason': reason}
        )

    @property
    def open(self) -> float | None:
        """The number of open connections."""
        return self.registry.get_sample_value('tmpl_api_connections')


@pytest.fixture
def bench() -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        yield Bench(stack)


def is_cut(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b''
    except BlockingIOError:
        return False


def test_a_new_connection_waits_for_its_request_without_a_thread(
    bench: Bench,
) -> None:
    made, _ = bench.admit()
    assert bench.idle == [made]
    assert bench.open == 1


def test_a_client_that_does_not_ask_in_time_is_cut(bench: Bench) -> None:
    _, client = bench.admit()
    bench.clock.now += TIMEOUT
    bench.server.cut_late()
    assert not is_cut(client)
    bench.clock.now += 1
    bench.server.cut_late()
    assert is_cut(client)
    assert bench.refused('slow') == 1
    bench.server.cut_late()
    assert bench.refused('slow') == 1


def test_a_client_that_does_not_take_its_answer_in_time_is_cut(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, client = bench.admit()
    bench.clock.now += TIMEOUT + 1
    deadlines = []

    class Slow:
        def sendall(self, data: bytes) -> None:
            deadlines.append(made.deadline)
            raise TimeoutError('too slow')

    with monkeypatch.context() as patch, pytest.raises(ConnectionAbortedError):
        patch.setattr(made, 'socket', Slow())
        made.wfile.write(b'x')
    assert deadlines == [bench.clock.now + SEND_TIMEOUT]
    assert made.deadline is None
    bench.server.cut_late()
    assert not is_cut(client)


def test_connections_are_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, '_CONNECTIONS', 2)
    first, _ = bench.admit()
    bench.admit()
    _, client = bench.admit()
    assert is_cut(client)
    assert (bench.refused('full'), bench.open) == (1, 2)
    first.close()
    assert bench.open == 1
    _, client = bench.admit()
    assert not is_cut(client)


def test_all_connections_end_with_the_server(bench: Bench) -> None:
    clients = [bench.admit()[1] for _ in range(3)]
    bench.server.cut_all()
    assert all(is_cut(client) for client in clients)


@pytest.mark.parametrize('error', [ssl.SSLError('who are you'), OSError()])
def test_a_client_that_cannot_prove_itself_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    made, client = bench.admit()

    def shake_hands() -> bool:
        raise error

    monkeypatch.setattr(made, 'shake_hands', shake_hands)
    made.last_used = 1.0
    bench.server.process_conn(made)
    assert is_cut(client)
    assert (bench.refused('handshake'), bench.open) == (1, 0)


def test_a_handshake_that_is_not_over_takes_no_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, client = bench.admit()

    def shake_hands() -> bool:
        raise ssl.SSLWantReadError

    monkeypatch.setattr(made, 'shake_hands', shake_hands)
    made.last_used = 1.0
    bench.server.process_conn(made)
    assert bench.idle == [made, made]
    assert not is_cut(client)


@pytest.fixture
def secure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench with TLS, at which each handshake succeeds at once."""

    def shake_hands(self: connection.Connection) -> bool:
        if self.client is not None:
            return True
        self.introduce(clients.Client('a certificate'))
        return False

    bench.server.ssl_adapter = object()
    monkeypatch.setattr(connection.Connection, 'shake_hands', shake_hands)
    return bench


def prove(bench: Bench, made: connection.Connection) -> None:
    """Let the client of a connection show its certificate."""
    made.last_used = 1.0
    bench.server.process_conn(made)


def test_who_shows_no_certificate_is_bounded_by_address(
    secure: Bench,
) -> None:
    most = server._HANDSHAKES_OF_ONE_ADDRESS
    first, _ = secure.admit()
    for _ in range(most - 1):
        secure.admit()
    _, refused = secure.admit()
    assert is_cut(refused)
    assert (secure.refused('address'), secure.open) == (1, most)
    prove(secure, first)
    _, client = secure.admit()
    assert not is_cut(client)


def test_who_shows_one_is_bounded_by_that(secure: Bench) -> None:
    for _ in range(server._OF_ONE_CLIENT):
        made, client = secure.admit()
        prove(secure, made)
        assert not is_cut(client)
    refused, client = secure.admit()
    prove(secure, refused)
    assert is_cut(client)
    assert secure.refused('share') == 1
    made.close()
    again, client = secure.admit()
    prove(secure, again)
    assert not is_cut(client)


def test_who_leaves_without_a_certificate_has_failed(secure: Bench) -> None:
    for _ in range(server._FAILURES_OF_ONE_ADDRESS):
        made, _ = secure.admit()
        made.close()
        made.close()
    _, client = secure.admit()
    assert is_cut(client)
    secure.clock.now += 1
    _, client = secure.admit()
    assert not is_cut(client)


def test_when_all_is_full_nobody_has_failed(
    secure: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, '_CONNECTIONS', 0)
    for _ in range(100):
        secure.admit()
    assert (secure.refused('full'), secure.refused('address')) == (100, None)
