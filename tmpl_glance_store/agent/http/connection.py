# SPDX-License-Identifier: Apache-2.0
"""cheroot's connection, with deadlines and a handshake that nobody waits for.

cheroot 11 bounds single reads and writes, but not a request as a whole: a
client that sends a byte now and then would keep a thread.
"""

import contextlib
import errno
import socket
from typing import Any

import cheroot.server

from tmpl_glance_store.agent.http import clients


class Request(cheroot.server.HTTPRequest):
    """A request whose head must be there in time."""

    def parse_request(self) -> None:
        self.conn.limit(self.server.timeout)
        super().parse_request()
        self.conn.limit(None)
        if self.conn.is_outdated:
            # Whoever goes on shakes hands again, by the rules of today.
            self.close_connection = True
        if self.chunked_read or b'Content-Length' in self.inheaders:
            # Nothing here takes a body, so nobody waits for one to end.
            self.close_connection = True


class Writer:
    """Sends at once; cheroot's own copies each chunk once per packet."""

    def __init__(self, connection: 'Connection') -> None:
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


class Connection(cheroot.server.HTTPConnection):
    """A connection that is cut when it is not ready by its deadline."""

    RequestHandlerClass = Request

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.wfile = Writer(self)
        self.socket.settimeout(self.server.send_timeout)
        self.deadline: float | None = None
        self.client: clients.Client | None = None
        #: What the server counts it among.
        self.is_stranger = self.has_share = False

    def limit(self, seconds: float | None) -> None:
        """Set the time that is left."""
        self.deadline = seconds and self.server.clock() + seconds

    def introduce(self, client: clients.Client) -> None:
        """Take note of who is at the other end; requests are told."""
        self.client = client
        # cheroot puts this into the environ of each request.
        self.ssl_env = {clients.ENVIRON: client}

    def shake_hands(self) -> bool:
        """Go on with the TLS handshake, without waiting for anything.

        :returns: whether it has been done before
        :raises ssl.SSLWantReadError: if it is the client's turn
        :raises OSError: if the client is not one of the cluster
        """
        if self.client is not None:
            return True
        self.socket.settimeout(0)
        self.socket.do_handshake()
        self.socket.settimeout(self.server.send_timeout)
        self.introduce(clients.Client.proved(self.socket))
        return False

    @property
    def is_outdated(self) -> bool:
        """Whether certificates or revocations have changed meanwhile."""
        adapter = self.server.ssl_adapter
        return adapter is not None and not adapter.is_current(self.socket)

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
