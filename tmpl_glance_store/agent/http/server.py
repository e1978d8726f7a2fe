# SPDX-License-Identifier: Apache-2.0
"""cheroot's server, on plain threads, with bounds for what clients take up.

Two things of cheroot 11 would let a client harm the others, and are done
otherwise here: it shakes hands in the thread that accepts
(cherrypy/cheroot#748), and it gives a thread to a connection that has sent
nothing yet.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import cheroot.errors
import cheroot.makefile
import cheroot.wsgi

from tmpl_glance_store import tls
from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent.http import clients
from tmpl_glance_store.agent.http import connection

LOG = logging.getLogger(__name__)

THREADS = 64

_CONNECTIONS = 4 * THREADS
_HEAD = 16 << 10  # bytes of a request's line and headers


class Adapter:
    """What cheroot calls an SSL adapter; it leaves the handshake to us."""

    makefile = staticmethod(cheroot.makefile.MakeFile)

    def __init__(self, context: tls.Context) -> None:
        self._context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def is_current(self, sock: ssl.SSLSocket) -> bool:
        """Tell whether *sock* shook hands with the files of now."""
        return sock.context is self._context.get()

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


class Server(cheroot.wsgi.Server):
    """cheroot's server with bounds for what a client can take up.

    A thread works only for clients of the cluster, and only when there is
    something to read from them.
    """

    ConnectionClass = connection.Connection
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            bind_addr,
            application,
            threads,
            max=threads,
            server_name='tmpl-agent',
            timeout=timeout,  # type: ignore[arg-type]
            request_queue_size=128,
        )
        self.send_timeout = send_timeout
        self.clock = clock
        self._metrics = metrics
        self._lock = threading.Lock()
        self._clients: set[connection.Connection] = set()

    def process_conn(self, conn: connection.Connection) -> None:
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

    def _admit(self, conn: connection.Connection) -> bool:
        with self._lock:
            if len(self._clients) >= _CONNECTIONS:
                return False
            self._clients.add(conn)
        self._metrics.connections.inc()
        if self.ssl_adapter is None:
            conn.introduce(clients.Client.nearby(conn.remote_addr))
        conn.limit(self.timeout)
        return True

    def put_conn(self, conn: connection.Connection) -> None:
        """Wait until the client sends something."""
        try:
            super().put_conn(conn)
        except (OSError, ValueError, KeyError, RuntimeError):
            conn.close()  # stopped meanwhile

    def forget(self, conn: connection.Connection) -> None:
        """Leave a connection alone that is going to be closed."""
        with self._lock:
            if conn in self._clients:
                self._clients.remove(conn)
                self._metrics.connections.dec()

    def cut_late(self) -> None:
        """Cut the connections whose deadline has passed."""
        now = self.clock()
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
