# SPDX-License-Identifier: Apache-2.0
"""A connection to another node's agent, by HTTP/1.1."""

import contextlib
import http.client
import io
import ipaddress
import json
import socket
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls
from tmpl_glance_store.remote import contract

_MAX_STATUS = 64 << 20  # bytes
_CONNECT_TIMEOUT = 5  # seconds; a live node answers in far less
_MIN_RATE = 64 << 10  # bytes/s; who gives bytes, but fewer, is stalled too


class _Timed:
    """What http.client needs of a socket, with a deadline for its reads.

    The socket's own timeout is for one read: who gives a byte now and then
    would never exceed it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.deadline = 0.0
        self.sendall = sock.sendall

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Do nothing: the answer is still to be read."""


class _Reader(io.RawIOBase):
    """Reads from a timed socket, for one answer."""

    def __init__(self, timed: _Timed) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() > self._timed.deadline:
            raise TimeoutError('too slow')
        return self._timed.socket.recv_into(buffer)


class HttpConnection:
    """A connection to the agent at *url*, by HTTP/1.1.

    :param context: of mutual TLS; without it only loopback is called
    :param timeout: seconds without a byte
    """

    def __init__(
        self, url: str, context: tls.Context | None, timeout: float
    ) -> None:
        self._url = url
        self._context = context
        self._timeout = timeout
        self._socket: _Timed | None = None
        self._http: http.client.HTTPConnection | None = None

    def layer(self, template: objects.Template) -> bytes:
        """Return the piece layer, unproved."""
        size = layer_size(template)
        response = self._get(_path(template, 'pieces'), 200)
        if response.length != size:
            raise contract.HolderLied(
                f'gave a piece layer of {response.length} bytes'
            )
        layer = bytearray(size)
        self._fill(response, memoryview(layer))
        return bytes(layer)

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
        self._response = response

    def read_into(self, buffer: memoryview) -> None:
        """Fill *buffer* with the next of these bytes."""
        self._fill(self._response, buffer)

    def status(self) -> dict[str, Any]:
        """Return what the agent says of itself."""
        response = self._get('/v1/status', 200)
        if response.length is None or response.length > _MAX_STATUS:
            raise contract.HolderFailed(
                f'gave a status of {response.length} bytes'
            )
        text = bytearray(response.length)
        self._fill(response, memoryview(text))
        with _as_failures():
            answer: dict[str, Any] = json.loads(text)
        return answer

    def close(self) -> None:
        """Close; more calls do nothing."""
        sock, self._socket, self._http = self._socket, None, None
        if sock is not None:
            sock.socket.close()

    def _get(
        self, path: str, status: int, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        with _as_failures():
            if self._http is None or self._http.sock is None:
                self._open()
            self._socket.deadline = time.monotonic() + self._timeout
            self._http.request('GET', path, headers=headers or {})
            response = self._http.getresponse()
        if response.status != status:
            raise contract.HolderFailed(f'answered {response.status}')
        return response

    def _fill(
        self, response: http.client.HTTPResponse, buffer: memoryview
    ) -> None:
        self._socket.deadline = time.monotonic() + max(
            self._timeout, len(buffer) / _MIN_RATE
        )
        with _as_failures():
            while buffer:
                count = response.readinto(buffer)
                if not count:
                    raise contract.HolderFailed('ended early')
                buffer = buffer[count:]

    def _open(self) -> None:
        self.close()
        host, port = self._address()
        sock = socket.create_connection(
            (host, port), min(self._timeout, _CONNECT_TIMEOUT)
        )
        try:
            if self._context is not None:
                sock = self._context.get().wrap_socket(
                    sock, server_hostname=host
                )
            sock.settimeout(self._timeout)
        except BaseException:
            sock.close()
            raise
        self._socket = _Timed(sock)
        self._http = http.client.HTTPConnection(host, port)
        self._http.sock = self._socket

    def _address(self) -> tuple[str, int]:
        """Return the host and the port to call, if it is safe to call it.

        :raises HolderFailed: if it is not: a node writes its own URL
        """
        parts = urllib.parse.urlsplit(self._url)
        host, port = parts.hostname, parts.port
        if not host or not port:
            raise contract.HolderFailed('has no address')
        if self._context is None:
            with contextlib.suppress(ValueError):
                if (
                    parts.scheme == 'http'
                    and ipaddress.ip_address(host).is_loopback
                ):
                    return host, port
            raise contract.HolderFailed(
                f'needs mutual TLS: set {", ".join(tls.OPTIONS)}'
            )
        if parts.scheme != 'https':
            raise contract.HolderFailed('does not use TLS')
        return host, port


def _path(template: objects.Template, name: str) -> str:
    return f'/v1/templates/{template.digest}/{name}'


@contextlib.contextmanager
def _as_failures() -> Iterator[None]:
    """Translate what a holder can do to us."""
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as exc:
        # The text may be the holder's own.
        reason = f'{type(exc).__name__}: {exc}'
        raise contract.HolderFailed(reason[:200]) from exc


def layer_size(template: objects.Template) -> int:
    """Return the bytes that the piece layer of a template has."""
    return -(-template.size // template.piece_size) * merkle.HASH_SIZE
