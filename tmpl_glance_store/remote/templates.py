# SPDX-License-Identifier: Apache-2.0
"""Reads templates from the agents of other nodes, and proves what it gets.

A holder is not trusted: no byte is handed on before its piece is proved
against the digest (BEP 52), and a holder that dies, stalls or lies is
replaced by the next one in the middle of a read.
"""

import collections
import contextlib
import http.client
import io
import ipaddress
import json
import logging
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from tmpl_glance_store import exceptions
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls

LOG = logging.getLogger(__name__)

#: Larger chunks come fresh from the kernel each time, at half the speed.
MAX_CHUNK = 256 << 10

_LAYERS = 32  # of up to 256 KiB each
_MAX_STATUS = 64 << 20  # bytes
_SUSPICION = 600  # seconds
_CONNECT_TIMEOUT = 5  # seconds; a live node answers in far less
_MIN_RATE = 64 << 10  # bytes/s; who gives bytes, but fewer, is stalled too


class HolderFailed(Exception):
    """A holder did not give what was asked for; says why."""


class HolderLied(HolderFailed):
    """A holder gave bytes that are not those of the template."""


class Connection(Protocol):
    """A connection to one holder; all its calls raise HolderFailed."""

    def layer(self, template: objects.Template) -> bytes:
        """Return the piece layer, unproved."""

    def start(self, template: objects.Template, start: int, end: int) -> None:
        """Ask for the bytes from *start* to *end*, once."""

    def read_into(self, buffer: memoryview) -> None:
        """Fill *buffer* with the next of these bytes."""

    def status(self) -> dict[str, Any]:
        """Return what the agent says of itself."""

    def close(self) -> None:
        """Close; more calls do nothing."""


def _log_lie(url: str, digest: str, piece: int | None) -> None:
    LOG.error(
        'Holder %s serves bad bytes of template %s: %s',
        url,
        digest,
        'its piece layer' if piece is None else f'piece {piece}',
    )


class RemoteTemplates:
    """The templates that other nodes hold.

    :param context: of mutual TLS; without it only loopback is read from
    :param timeout: seconds without a byte after which a holder is given up
    :param on_lie: told (holder's URL, digest, number of the bad piece, None
        for the layer)
    :param connect: makes the connection to a holder from its URL
    :param clock: as ``time.monotonic``
    """

    def __init__(
        self,
        *,
        context: tls.Context | None = None,
        timeout: float = 30,
        on_lie: Callable[[str, str, int | None], None] = _log_lie,
        connect: Callable[[str], Connection] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_lie = on_lie
        self._connect = connect or (
            lambda url: HttpConnection(url, context, timeout)
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._layers: collections.OrderedDict[str, bytes] = (
            collections.OrderedDict()
        )
        self._suspects: dict[str, float] = {}

    def open(
        self,
        template: objects.Template,
        holders: Sequence[str],
        offset: int = 0,
        length: int | None = None,
        chunk_size: int = MAX_CHUNK,
    ) -> 'RemoteFile':
        """Return the bytes of a template from *offset* on.

        The first piece is here and proved when this returns.

        :param holders: base URLs of the API of live holders, the one to ask
            first first; who lied lately comes last all the same
        :param length: bytes to give, None for all that follow
        :param chunk_size: the most bytes to give at a time
        :raises Unavailable: if no holder gives them now; says why for each
        """
        return RemoteFile(
            self,
            template,
            self._by_trust(holders),
            offset,
            length,
            min(chunk_size, MAX_CHUNK),
        )

    def pieces(
        self, template: objects.Template, holders: Sequence[str]
    ) -> bytes:
        """Return the proved piece layer of a template, from any holder.

        :raises Unavailable: if no holder gives it; says why for each
        """
        reasons = []
        for url in self._by_trust(holders):
            connection = self.connect(url)
            try:
                return self.layer(template, connection)
            except HolderLied as exc:
                self.accuse(url, template.digest, None)
                reasons.append(f'{url} {exc}')
            except HolderFailed as exc:
                reasons.append(f'{url} {exc}')
            finally:
                connection.close()
        raise exceptions.Unavailable(
            f'no holder gives the piece layer of template '
            f'{template.digest}: ' + '; '.join(reasons)
        )

    def status(self, url: str) -> dict[str, Any]:
        """Return what the agent at *url* says of itself (``/v1/status``).

        :raises Unavailable: if it does not; says why
        """
        connection = self.connect(url)
        try:
            return connection.status()
        except HolderFailed as exc:
            raise exceptions.Unavailable(f'{url} {exc}') from exc
        finally:
            connection.close()

    def connect(self, url: str) -> Connection:
        """Return a connection to the holder at *url*."""
        return self._connect(url)

    def layer(
        self, template: objects.Template, connection: Connection
    ) -> bytes:
        """Return the proved piece layer of a template.

        :raises HolderFailed: if it is not known, and *connection* does not
            give it
        """
        if template.size <= template.piece_size:
            return bytes.fromhex(template.digest)
        with self._lock:
            layer = self._layers.get(template.digest)
        if layer is None:
            layer = connection.layer(template)
            _prove_layer(layer, template)
        with self._lock:
            self._layers[template.digest] = layer
            self._layers.move_to_end(template.digest)
            while len(self._layers) > _LAYERS:
                self._layers.popitem(last=False)
        return layer

    def accuse(self, url: str, digest: str, piece: int | None) -> None:
        """Remember for a while that a holder lied, and report it."""
        with self._lock:
            self._suspects[url] = self._clock() + _SUSPICION
        self._on_lie(url, digest, piece)

    def _by_trust(self, holders: Sequence[str]) -> list[str]:
        # Not left out: what it gives is proved anyway, and it may be all
        # that there is.
        with self._lock:
            now = self._clock()
            for url in [
                url for url, until in self._suspects.items() if until <= now
            ]:
                del self._suspects[url]
            return sorted(
                dict.fromkeys(holders), key=self._suspects.__contains__
            )


def _layer_size(template: objects.Template) -> int:
    return -(-template.size // template.piece_size) * merkle.HASH_SIZE


def _prove_layer(layer: bytes, template: objects.Template) -> None:
    # With the filler of the tree added, a longer layer has the same root.
    if len(layer) != _layer_size(template):
        raise HolderLied(f'gave a piece layer of {len(layer)} bytes')
    root = merkle.layer_root(merkle.split_layer(layer), template.piece_size)
    if root.hex() != template.digest:
        raise HolderLied('gave the piece layer of something else')


class _Turns:
    """Whose turn it is.

    A holder that fails is set aside until another one has given a piece. So
    a read ends only when all have failed at the same piece, and it ends
    then, since each turn without a piece sets one more aside.
    """

    def __init__(self, holders: Sequence[str]) -> None:
        self._waiting = collections.deque(holders)
        self._aside: list[str] = []
        self._reasons: dict[str, str] = {}

    @property
    def current(self) -> str | None:
        """The holder to ask, None if all have failed."""
        return self._waiting[0] if self._waiting else None

    @property
    def reasons(self) -> str:
        """Why holders were set aside."""
        return '; '.join(
            f'{url}: {reason}' for url, reason in self._reasons.items()
        )

    def succeeded(self) -> None:
        """Note that the current holder gave a piece."""
        if self._aside:
            self._waiting.extend(self._aside)
            self._aside.clear()
            self._reasons.clear()

    def failed(self, reason: str, last_chance: bool) -> None:
        """Note that the current holder failed.

        :param last_chance: whether it may be asked once more in the end: it
            has given something since it was asked
        """
        url = self._waiting.popleft()
        self._reasons[url] = reason
        (self._waiting if last_chance else self._aside).append(url)


class RemoteFile:
    """The bytes of a remote template, in chunks; closes itself.

    ``size`` is that of the whole template, in bytes.

    Made by :meth:`RemoteTemplates.open`.
    """

    def __init__(
        self,
        peers: RemoteTemplates,
        template: objects.Template,
        holders: Sequence[str],
        offset: int,
        length: int | None,
        chunk_size: int,
    ) -> None:
        self.size = template.size
        self._peers = peers
        self._template = template
        self._turns = _Turns(holders)
        self._chunk_size = chunk_size
        self._offset = min(offset, template.size)
        self._end = (
            template.size
            if length is None
            else min(offset + length, template.size)
        )
        self._connection: Connection | None = None
        self._layer = b''
        self._gave = False
        self._closed = False
        self._buffer = memoryview(b'')
        self._piece = memoryview(b'')
        if self._offset < self._end:
            self._buffer = memoryview(
                bytearray(min(template.piece_size, template.size))
            )
            self._piece = self._fetch(self._offset // template.piece_size)

    def __iter__(self) -> Iterator[bytes]:
        try:
            while self._offset < self._end and not self._closed:
                yield self._next_chunk()
        finally:
            self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; more calls do nothing."""
        self._closed = True
        self._disconnect()

    def _next_chunk(self) -> bytes:
        index, start = divmod(self._offset, self._template.piece_size)
        if not self._piece:
            self._piece = self._fetch(index)
        end = min(
            start + self._chunk_size,
            len(self._piece),
            start + self._end - self._offset,
        )
        chunk = bytes(self._piece[start:end])
        self._offset += len(chunk)
        if end == len(self._piece):
            self._piece = self._piece[:0]
        return chunk

    def _fetch(self, index: int) -> memoryview:
        """Return the proved bytes of a piece, from whoever has them.

        :raises Unavailable: if all holders failed
        """
        try:
            while (url := self._turns.current) is not None:
                try:
                    return self._try(url, index)
                except HolderFailed as exc:
                    self._drop(url, exc)
        except BaseException:
            self.close()
            raise
        self.close()
        raise exceptions.Unavailable(
            f'no holder gives piece {index} of template '
            f'{self._template.digest} now: '
            f'{self._turns.reasons or "none is known"}'
        )

    def _try(self, url: str, index: int) -> memoryview:
        if self._connection is None:
            self._begin(url, index)
        template = self._template
        start = index * template.piece_size
        data = self._buffer[: min(template.piece_size, template.size - start)]
        self._connection.read_into(data)
        hash_at = index * merkle.HASH_SIZE
        if (
            merkle.piece_hash(data, template.size, template.piece_size)
            != self._layer[hash_at : hash_at + merkle.HASH_SIZE]
        ):
            self._peers.accuse(url, template.digest, index)
            raise HolderLied(f'gave a bad piece {index}')
        self._gave = True
        self._turns.succeeded()
        return data

    def _begin(self, url: str, index: int) -> None:
        """Ask the holder at *url* for everything from piece *index* on."""
        template = self._template
        self._connection = connection = self._peers.connect(url)
        self._gave = False
        try:
            self._layer = self._peers.layer(template, connection)
        except HolderLied:
            self._peers.accuse(url, template.digest, None)
            raise
        last = (self._end - 1) // template.piece_size
        connection.start(
            template,
            index * template.piece_size,
            min((last + 1) * template.piece_size, template.size),
        )

    def _drop(self, url: str, exc: HolderFailed) -> None:
        LOG.warning(
            'Template %s: holder %s %s', self._template.digest, url, exc
        )
        self._disconnect()
        # It may have dropped us because our own reader took its time.
        self._turns.failed(str(exc), self._gave)
        self._gave = False

    def _disconnect(self) -> None:
        connection = getattr(self, '_connection', None)
        self._connection = None
        if connection is not None:
            connection.close()


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
        size = _layer_size(template)
        response = self._get(_path(template, 'pieces'), 200)
        if response.length != size:
            raise HolderLied(f'gave a piece layer of {response.length} bytes')
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
            raise HolderFailed(f'gave other bytes than {extent}')
        self._response = response

    def read_into(self, buffer: memoryview) -> None:
        """Fill *buffer* with the next of these bytes."""
        self._fill(self._response, buffer)

    def status(self) -> dict[str, Any]:
        """Return what the agent says of itself."""
        response = self._get('/v1/status', 200)
        if response.length is None or response.length > _MAX_STATUS:
            raise HolderFailed(f'gave a status of {response.length} bytes')
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
            raise HolderFailed(f'answered {response.status}')
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
                    raise HolderFailed('ended early')
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
            raise HolderFailed('has no address')
        if self._context is None:
            with contextlib.suppress(ValueError):
                if (
                    parts.scheme == 'http'
                    and ipaddress.ip_address(host).is_loopback
                ):
                    return host, port
            raise HolderFailed(
                f'needs mutual TLS: set {", ".join(tls.OPTIONS)}'
            )
        if parts.scheme != 'https':
            raise HolderFailed('does not use TLS')
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
        raise HolderFailed(reason[:200]) from exc
