# SPDX-License-Identifier: Apache-2.0
"""What we override in cheroot is still what cheroot calls.

A release that renames a hook would leave its bound undone, and nothing else
would tell.
"""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import cheroot.server
import cheroot.wsgi
import prometheus_client
import pytest

from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent.http import connection
from tmpl_glance_store.agent.http import listener
from tmpl_glance_store.agent.http import server

LONG = 30


class Context:
    """A TLS context that nobody can shake hands with."""

    @staticmethod
    def get() -> ssl.SSLContext:
        """Return it."""
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def answer(environ: Any, start: Callable[..., Any]) -> list[bytes]:
    """Answer /, and fail on all else."""
    if environ['PATH_INFO'] != '/':
        raise RuntimeError('oops')
    start('200 OK', [('Content-Length', '2')])
    return [b'ok']


@contextlib.contextmanager
def serving(context: Any = None) -> Iterator[listener.Listener]:
    api = listener.Listener(
        answer,
        host='127.0.0.1',
        port=0,
        context=context,
        metrics=api_metrics.ApiMetrics(prometheus_client.CollectorRegistry()),
        threads=2,
    )
    api.start()
    try:
        yield api
    finally:
        api.stop()


@contextlib.contextmanager
def client_of(
    api: listener.Listener,
) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection(*api.address, timeout=LONG)
    with contextlib.closing(client):
        yield client


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str], list[str]]:
    """Let a method take note of each call."""

    def spy(owner: type, name: str) -> list[str]:
        told: list[str] = []
        method = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            told.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)
        return told

    return spy


@pytest.mark.parametrize(
    ('base', 'name'),
    [
        (cheroot.server.HTTPRequest, 'parse_request'),
        (cheroot.server.HTTPConnection, 'close'),
        (cheroot.server.HTTPConnection, 'RequestHandlerClass'),
        (cheroot.wsgi.Server, 'process_conn'),
        (cheroot.wsgi.Server, 'put_conn'),
        (cheroot.wsgi.Server, 'error_log'),
        (cheroot.wsgi.Server, 'ConnectionClass'),
        (cheroot.wsgi.Server, 'max_request_header_size'),
        (cheroot.wsgi.Server, 'keep_alive_conn_limit'),
    ],
)
def test_cheroot_has_what_we_override(base: type, name: str) -> None:
    assert hasattr(base, name)


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (connection.Request, 'parse_request'),
        (connection.Writer, 'write'),
        (connection.Connection, 'close'),
        (server.Server, 'process_conn'),
        (server.Server, 'put_conn'),
    ],
)
def test_cheroot_calls_it_for_a_request(
    calls: Callable[[type, str], list[str]], owner: type, name: str
) -> None:
    told = calls(owner, name)
    with serving() as api, client_of(api) as client:
        for _ in range(2):
            client.request('GET', '/')
            assert client.getresponse().read() == b'ok'
    assert told


def test_cheroot_calls_our_log_for_an_error(
    calls: Callable[[type, str], list[str]],
) -> None:
    told = calls(server.Server, 'error_log')
    with serving() as api, client_of(api) as client:
        client.request('GET', '/fails')
        assert client.getresponse().status == 500
    assert told


@pytest.mark.parametrize('name', ['bind', 'wrap', 'makefile'])
def test_cheroot_calls_our_adapter_for_tls(
    calls: Callable[[type, str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    if name == 'makefile':
        told: list[str] = []

        def makefile(*args: Any) -> Any:
            told.append(name)
            return cheroot.makefile.MakeFile(*args)

        monkeypatch.setattr(server.Adapter, name, staticmethod(makefile))
    else:
        told = calls(server.Adapter, name)
    with (
        serving(Context()) as api,
        socket.create_connection(api.address, LONG) as client,
    ):
        client.sendall(b'no handshake\r\n\r\n')
        with contextlib.suppress(ConnectionResetError):
            while client.recv(100):
                pass  # until it is refused
    assert told


def test_a_head_that_is_too_large_is_refused() -> None:
    with serving() as api, client_of(api) as client:
        client.request('GET', '/', headers={'Long': 'x' * (20 << 10)})
        assert client.getresponse().status == 413


def test_a_body_ends_the_connection() -> None:
    with serving() as api, client_of(api) as client:
        client.request('GET', '/', body=b'ignored')
        answered = client.getresponse()
        assert (answered.status, answered.will_close) == (200, True)


def test_a_second_listener_at_the_same_port_says_so() -> None:
    with serving() as api:
        second = listener.Listener(
            answer,
            host='127.0.0.1',
            port=api.address[1],
            context=None,
            metrics=api_metrics.ApiMetrics(
                prometheus_client.CollectorRegistry()
            ),
        )
        with pytest.raises(Exception, match='cannot listen'):
            second.start()
