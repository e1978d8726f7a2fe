# SPDX-License-Identifier: Apache-2.0
"""A connection to another node's agent, by HTTP/1.1.

It goes where the URL says and nowhere else: no proxy, no redirect, nothing
from the environment. ``http.client`` bounds the head of an answer, and the
sockets below bound the time that it takes.
"""

import contextlib
import http.client
import json
import math
import socket
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import schema
from tmpl_glance_store import tls
from tmpl_glance_store.remote import contract

_MAX_STATUS = 64 << 20  # bytes
_CONNECT_TIMEOUT = 5  # seconds; a live node answers in far less
_MIN_RATE = 64 << 10  # bytes/s; who gives bytes, but fewer, is stalled too


class _Socket(socket.socket):
    """A socket whose reads end at a deadline, however fast bytes drip in.

    The timeout of a socket is for one read: who gives a byte now and then
    would never exceed it. ``makefile()`` reads by ``recv_into`` alone.
    """

    deadline = math.inf  # of time.monotonic()

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        _require_time(self.deadline)
        return super().recv_into(*args, **kwargs)


class _TlsSocket(ssl.SSLSocket):
    """The same with TLS."""

    deadline = math.inf

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        _require_time(self.deadline)
        return super().recv_into(*args, **kwargs)


def _require_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError('too slow')


class _Client(http.client.HTTPConnection):
    """Connects with our sockets, and with our TLS.

    :param context: of mutual TLS, None for none
    :param timeout: seconds without a byte
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: tls.Context | None,
        timeout: float,
    ) -> None:
        super().__init__(host, port)
        self._context = context
        self._patience = timeout
        self.socket: _Socket | _TlsSocket | None = None

    def connect(self) -> None:
        """Connect; ``request`` calls it when there is no connection."""
        plain = socket.create_connection(
            (self.host, self.port), min(self._patience, _CONNECT_TIMEOUT)
        )
        try:
            self.sock = self.socket = self._wrap(plain)
        except BaseException:
            plain.close()
            raise
        self.socket.settimeout(self._patience)

    def _wrap(self, plain: socket.socket) -> '_Socket | _TlsSocket':
        if self._context is None:
            return _Socket(fileno=plain.detach())
        context = self._context.get()
        context.sslsocket_class = _TlsSocket
        wrapped = context.wrap_socket(plain, server_hostname=self.host)
        assert isinstance(wrapped, _TlsSocket)
        return wrapped

    def expect_within(self, seconds: float) -> None:
        """Give the reads that follow so much time, all together."""
        assert self.socket is not None
        self.socket.deadline = time.monotonic() + seconds


class HttpConnection:
    """A connection to the agent at *url*; see :class:`contract.Connection`.

    :param context: of mutual TLS; without it only loopback is called
    :param timeout: seconds without a byte
    """

    def __init__(
        self, url: str, context: tls.Context | None, timeout: float
    ) -> None:
        self._url = url
        self._context = context
        self._timeout = timeout
        self._client: _Client | None = None
        self._response: http.client.HTTPResponse | None = None

    def layer(self, template: objects.Template) -> bytes:
        """Return the piece layer, unproved."""
        size = merkle.layer_size(template.size, template.piece_size)
        length = self._get(_path(template, 'pieces'), 200).length
        if length != size:
            raise contract.HolderLied(f'gave a piece layer of {length} bytes')
        return self._read(size)

    def start(self, template: objects.Template, start: int, end: int) -> None:
        """Ask for the bytes from *start* to *end*, once."""
        extent = f'{start}-{end - 1}'
        response = self._get(
            _path(template, 'data'), 206, {'Range': f'bytes={extent}'}
        )
        given = response.headers.get('Content-Range')
        if (
            given != f'bytes {extent}/{template.size}'
            or response.length != end - start
        ):
            raise contract.HolderFailed(f'gave other bytes than {extent}')

    def read_into(self, buffer: memoryview) -> None:
        """Fill *buffer* with the next of these bytes."""
        client, response = self._client, self._response
        assert client is not None
        assert response is not None
        with _as_failures():
            client.expect_within(max(self._timeout, len(buffer) / _MIN_RATE))
            while buffer:
                count = response.readinto(buffer)
                if not count:
                    raise contract.HolderFailed('ended early')
                buffer = buffer[count:]

    def status(self) -> dict[str, Any]:
        """Return what the agent says of itself."""
        length = self._get('/v1/status', 200).length
        if length is None or length > _MAX_STATUS:
            raise contract.HolderFailed(f'gave a status of {length} bytes')
        with _as_failures():
            answer = json.loads(self._read(length))
        if not isinstance(answer, dict):
            raise contract.HolderFailed('gave a status that is no object')
        return answer

    def close(self) -> None:
        """Close; more calls do nothing."""
        client, self._client = self._client, None
        response, self._response = self._response, None
        if response is not None:
            response.close()
        if client is not None:
            client.close()

    def _read(self, length: int) -> bytes:
        data = bytearray(length)
        self.read_into(memoryview(data))
        return bytes(data)

    def _get(
        self, path: str, status: int, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        with _as_failures():
            if self._client is None:
                host, port = self._address()
                self._client = _Client(
                    host, port, self._context, self._timeout
                )
            if self._client.sock is None:
                self._client.connect()
            self._client.expect_within(self._timeout)
            self._client.request('GET', path, headers=headers or {})
            self._response = response = self._client.getresponse()
        if response.status != status:
            raise contract.HolderFailed(f'answered {response.status}')
        return response

    def _address(self) -> tuple[str, int]:
        """Return the host and the port to call, if it is safe to call it.

        :raises HolderFailed: if it is not: a node writes its own URL
        """
        parts = urllib.parse.urlsplit(self._url)
        host, port = parts.hostname, parts.port
        if not host or not port:
            raise contract.HolderFailed('has no address')
        secure = self._context is not None
        try:
            tls.require(host, 'an agent', secure=secure)
        except exceptions.BadConfiguration as exc:
            raise contract.HolderFailed(str(exc)) from exc
        if parts.scheme != ('https' if secure else 'http'):
            raise contract.HolderFailed(
                'does not use TLS' if secure else 'needs mutual TLS'
            )
        return host, port


def _path(template: objects.Template, name: str) -> str:
    return f'/v1/templates/{template.digest}/{name}'


@contextlib.contextmanager
def _as_failures() -> Iterator[None]:
    """Translate what a holder can do to us."""
    try:
        yield
    except (
        OSError,
        ValueError,
        RecursionError,  # of JSON within JSON
        http.client.HTTPException,
    ) as exc:
        # The text may be the holder's own.
        reason = f'{type(exc).__name__}: {exc}'
        raise contract.HolderFailed(schema.printable(reason[:200])) from exc
