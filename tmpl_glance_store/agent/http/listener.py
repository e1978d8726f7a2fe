# SPDX-License-Identifier: Apache-2.0
"""The listener of the agent's API: cheroot's server, on plain threads.

Three things of cheroot 11 would let a client harm the others, and are done
otherwise here: it shakes hands in the thread that accepts
(cherrypy/cheroot#748), it gives a thread to a connection that has sent nothing
yet, and it bounds single reads and writes but not a request as a whole.
"""

import contextlib
import errno
import ipaddress
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import cheroot.errors
import cheroot.makefile
import cheroot.server
import cheroot.wsgi

from tmpl_glance_store import exceptions
from tmpl_glance_store import tls
from tmpl_glance_store.agent import metrics as api_metrics

LOG = logging.getLogger(__name__)

THREADS = 64

_CONNECTIONS = 4 * THREADS
_HEAD = 16 << 10  # bytes of a request's line and headers
_WATCH = 0.5  # seconds between two looks for who is too slow


class _Request(cheroot.server.HTTPRequest):
    """A request whose head must be there in time."""

    def parse_request(self) -> None:
        self.conn.limit(self.server.timeout)
        super().parse_request()
        self.conn.limit(None)
        if self.chunked_read or b'Content-Length' in self.inheaders:
            # Nothing here takes a body, so nobody waits for one to end.
            self.close_connection = True


class _Writer:
    """Sends at once; cheroot's own copies each chunk once per packet."""

    def __init__(self, connection: '_Connection') -> None:
        self._connection = connection
        self.bytes_written = 0

    def write(self, data: bytes) -> None:
        connection = self._connection
        # A reader may be slow, as one who passes the bytes on is, but it
        # must take each chunk some time.
        connection.limit(connection.server.send_timeout)
        try:
            connection.socket.sendall(data)
        except OSError as exc:  # TLS has many words for it
            raise ConnectionAbortedError(errno.ECONNABORTED, str(exc)) from exc
        finally:
            connection.limit(None)


class _Connection(cheroot.server.HTTPConnection):
    """A connection that is cut when it is not ready by its deadline."""

    RequestHandlerClass = _Request

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.wfile = _Writer(self)
        self.socket.settimeout(self.server.send_timeout)
        self.deadline: float | None = None
        self._known = self.server.ssl_adapter is None

    def limit(self, seconds: float | None) -> None:
        """Set the time that is left."""
        self.deadline = seconds and time.monotonic() + seconds

    def shake_hands(self) -> bool:
        """Go on with the TLS handshake, without waiting for anything.

        :returns: whether it has been done before
        :raises ssl.SSLWantReadError: if it is the client's turn
        :raises OSError: if the client is not one of the cluster
        """
        if self._known:
            return True
        self.socket.settimeout(0)
        self.socket.do_handshake()
        self.socket.settimeout(self.server.send_timeout)
        self._known = True
        return False

    def cut(self) -> None:
        """End it from another thread: whoever waits for it wakes up."""
        self.deadline = None
        with contextlib.suppress(OSError):
            # Not SSLSocket's, which takes the session away from its user.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        # After this, cut() cannot meet the next user of the descriptor.
        self.server.forget(self)
        self.cut()
        self.rfile.close()
        self.socket.close()


class _Adapter:
    """What cheroot calls an SSL adapter; it leaves the handshake to us."""

    makefile = staticmethod(cheroot.makefile.MakeFile)

    def __init__(self, context: tls.Context) -> None:
        self._context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(
        self, sock: socket.socket
    ) -> tuple[ssl.SSLSocket, dict[str, str]]:
        try:
            wrapped = self._context.get().wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as exc:  # gone already
            raise cheroot.errors.FatalSSLAlert(str(exc)) from exc
        return wrapped, {}


class _Server(cheroot.wsgi.Server):
    """cheroot's server with bounds for what a client can take up.

    A thread works only for clients of the cluster, and only when there is
    something to read from them.
    """

    ConnectionClass = _Connection
    max_request_header_size = _HEAD
    keep_alive_conn_limit = _CONNECTIONS

    def __init__(
        self,
        bind_addr: tuple[str, int],
        application: Callable[..., Any],
        metrics: api_metrics.ApiMetrics,
        threads: int,
        timeout: float,
        send_timeout: float,
    ) -> None:
        super().__init__(
            bind_addr,
            application,
            threads,
            max=threads,
            server_name='tmpl-agent',
            timeout=timeout,
            request_queue_size=128,
        )
        self.send_timeout = send_timeout
        self._metrics = metrics
        self._lock = threading.Lock()
        self._clients: set[_Connection] = set()

    def process_conn(self, conn: _Connection) -> None:
        """Take up a connection that is new, or has sent something."""
        if conn.last_used is None and not self._admit(conn):
            self._metrics.refused.labels('full').inc()
            conn.close()
            return
        try:
            if conn.last_used is not None and conn.shake_hands():
                super().process_conn(conn)
                return
        except ssl.SSLWantReadError:
            pass
        except (OSError, ValueError) as exc:
            LOG.info('Refused %s: %s', conn.remote_addr, exc)
            self._metrics.refused.labels('handshake').inc()
            conn.close()
            return
        self.put_conn(conn)

    def _admit(self, conn: _Connection) -> bool:
        with self._lock:
            if len(self._clients) >= _CONNECTIONS:
                return False
            self._clients.add(conn)
        self._metrics.connections.inc()
        conn.limit(self.timeout)
        return True

    def put_conn(self, conn: _Connection) -> None:
        """Wait until the client sends something."""
        try:
            super().put_conn(conn)
        except (OSError, ValueError, KeyError, RuntimeError):
            conn.close()  # stopped meanwhile

    def forget(self, conn: _Connection) -> None:
        """Leave a connection alone that is going to be closed."""
        with self._lock:
            if conn in self._clients:
                self._clients.remove(conn)
                self._metrics.connections.dec()

    def cut_late(self) -> None:
        """Cut the connections whose deadline has passed."""
        now = time.monotonic()
        with self._lock:
            for conn in self._clients:
                if conn.deadline is not None and conn.deadline < now:
                    LOG.info('Cut %s: too slow', conn.remote_addr)
                    self._metrics.refused.labels('slow').inc()
                    conn.cut()

    def cut_all(self) -> None:
        """Cut all connections."""
        with self._lock:
            for conn in self._clients:
                conn.cut()

    def error_log(
        self, msg: str = '', level: int = logging.INFO, traceback: bool = False
    ) -> None:
        """Log; what clients do wrong is not worth a line each."""
        LOG.log(
            level if level >= logging.ERROR else logging.DEBUG,
            '%s',
            msg,
            exc_info=traceback,
        )


class Listener:
    """The listener of the agent: serves *application* from start to stop.

    :param host: a name or an address of this host
    :param port: 0 for any that is free
    :param context: of mutual TLS; without it only loopback will do
    :param timeout: seconds for a client to prove itself and to ask
    :param send_timeout: seconds for a client to take 256 KiB
    :raises BadConfiguration: if *host* is not loopback, without TLS
    """

    def __init__(
        self,
        application: Callable[..., Any],
        *,
        host: str,
        port: int,
        context: tls.Context | None,
        metrics: api_metrics.ApiMetrics,
        threads: int = THREADS,
        timeout: float = 10,
        send_timeout: float = 60,
    ) -> None:
        self._server = _Server(
            _resolve(host, port, context is not None),
            application,
            metrics,
            threads,
            timeout,
            send_timeout,
        )
        if context is not None:
            self._server.ssl_adapter = _Adapter(context)
        self._listening = threading.Event()
        self._stopped = threading.Event()
        self._error: Exception | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The address and the port, once started."""
        return self._server.bind_addr

    @property
    def url(self) -> str:
        """The base URL at which other nodes reach this, once started."""
        host, port = self.address
        return (
            f'{"https" if self._server.ssl_adapter else "http"}://'
            f'{f"[{host}]" if ":" in host else host}:{port}'
        )

    def start(self) -> None:
        """Listen, and serve in threads of its own.

        :raises BadConfiguration: if the address cannot be bound
        """
        # cheroot would take its descriptor 3, whatever it listens on.
        os.environ.pop('LISTEN_PID', None)
        for run in self._serve, self._watch:
            threading.Thread(target=run, name='tmpl-api', daemon=True).start()
        self._listening.wait()
        if self._error is not None:
            self._stopped.set()
            raise exceptions.BadConfiguration(
                f'the API cannot listen on {self.address}: {self._error}'
            ) from self._error
        LOG.info('The API listens on %s', self.address)

    def stop(self, grace: float = 1) -> None:
        """End within *grace* and a few seconds, whatever clients do.

        :param grace: seconds for answers in progress
        """
        self._stopped.set()
        stopper = threading.Thread(target=self._server.stop, daemon=True)
        stopper.start()
        stopper.join(grace)
        self._server.cut_all()
        # Daemons all: a thread that hangs in a read of a disk stays behind.
        stopper.join(2)

    def _serve(self) -> None:
        try:
            self._server.prepare()
        except Exception as exc:
            self._error = exc
            return
        finally:
            self._listening.set()
        try:
            self._server.serve()
        except Exception:
            LOG.exception('The API has ended')

    def _watch(self) -> None:
        while not self._stopped.wait(_WATCH):
            self._server.cut_late()


def _resolve(host: str, port: int, secure: bool) -> tuple[str, int]:
    """Return the address to bind for *host*.

    :raises BadConfiguration: if there is none, or it is not a safe one
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as exc:
        raise exceptions.BadConfiguration(
            f'the API cannot listen on {host!r}: {exc}'
        ) from exc
    address = found[0][4][0]
    if not secure and not ipaddress.ip_address(address).is_loopback:
        raise exceptions.BadConfiguration(
            f'the API does not listen on {host} without mutual TLS, since '
            f'anybody there could read all templates: set '
            f'{", ".join(tls.OPTIONS)}, or listen on 127.0.0.1'
        )
    return address, port
