# SPDX-License-Identifier: Apache-2.0
"""cheroot's server, on plain threads, with bounds for what clients take up.

Two things of cheroot 11 would let a client harm the others, and are done
otherwise here: it shakes hands in the thread that accepts
(cherrypy/cheroot#748), and it gives a thread to a connection that has sent
nothing yet. Who has shown no certificate is bounded by address, who has by
certificate: neither one host nor one certificate can keep the others out.
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
from tmpl_glance_store.agent.http import complaints
from tmpl_glance_store.agent.http import connection
from tmpl_glance_store.agent.http import shares
from tmpl_glance_store.agent.http import strangers

LOG = logging.getLogger(__name__)

THREADS = 64

_CONNECTIONS = 4 * THREADS
_OF_ONE_CLIENT = THREADS // 2  # each may keep a thread for a while
_HANDSHAKES = _CONNECTIONS // 2
_HANDSHAKES_OF_ONE_ADDRESS = 32
_FAILURES_OF_ONE_ADDRESS = 20
_HEAD = 16 << 10  # bytes of a request's line and headers

_REASONS = {
    'address': 'too many handshakes, or too many that failed',
    'full': 'there are too many connections',
    'handshake': 'its handshake failed',
    'share': 'its certificate has too many connections',
    'slow': 'it is too slow',
}


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
        self._complaints = complaints.Complaints(clock)
        self._shares = shares.Shares(_CONNECTIONS, _OF_ONE_CLIENT)
        self._strangers = strangers.Strangers(
            total=_HANDSHAKES,
            pending=_HANDSHAKES_OF_ONE_ADDRESS,
            failures=_FAILURES_OF_ONE_ADDRESS,
            clock=clock,
        )

    def process_conn(self, conn: connection.Connection) -> None:
        """Take up a connection that is new, or has sent something."""
        if conn.last_used is None:
            if self._admit(conn):
                self.put_conn(conn)
            return
        try:
            if conn.shake_hands():
                super().process_conn(conn)
                return
        except ssl.SSLWantReadError:
            self.put_conn(conn)
        except (OSError, ValueError) as exc:
            self._refuse(conn, 'handshake', str(exc))
        else:
            self._welcome(conn)

    def _admit(self, conn: connection.Connection) -> bool:
        """Take up a connection that is new, and tell whether it stays."""
        # One thread alone takes up connections; others but end them.
        if len(self._clients) >= _CONNECTIONS:
            self._refuse(conn, 'full')
            return False
        if self.ssl_adapter is None:
            conn.introduce(clients.Client.nearby(conn.remote_addr))
        elif self._strangers.enter(conn.remote_addr):
            conn.is_stranger = True
        else:
            self._refuse(conn, 'address')
            return False
        with self._lock:
            self._clients.add(conn)
        self._metrics.connections.inc()
        conn.limit(self.timeout)
        return True

    def _welcome(self, conn: connection.Connection) -> None:
        """Go on with a client that has just shown its certificate."""
        assert conn.client is not None
        conn.is_stranger = False
        self._strangers.leave(conn.remote_addr, proved=True)
        conn.has_share = self._shares.take(conn.client.key)
        if conn.has_share:
            self.put_conn(conn)
        else:
            self._refuse(conn, 'share')

    def _refuse(
        self, conn: connection.Connection, reason: str, detail: str = ''
    ) -> None:
        self._complaints.add(conn.remote_addr, _REASONS[reason], detail)
        self._metrics.refused.labels(reason).inc()
        conn.close()

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
        if conn.is_stranger:
            conn.is_stranger = False
            self._strangers.leave(conn.remote_addr, proved=False)
        if conn.has_share and conn.client is not None:
            conn.has_share = False
            self._shares.give(conn.client.key)

    def cut_late(self) -> None:
        """Cut the connections whose deadline has passed.

        What there was to say of clients is summed up, and forgiven, too.
        """
        self._complaints.sum_up()
        self._strangers.forgive()
        now = self.clock()
        with self._lock:
            for conn in self._clients:
                if conn.deadline is not None and conn.deadline < now:
                    self._complaints.add(conn.remote_addr, _REASONS['slow'])
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
