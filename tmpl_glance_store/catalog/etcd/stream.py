# SPDX-License-Identifier: Apache-2.0
"""A connection on which a member tells of changes."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import etcd3gw
import requests
from etcd3gw import exceptions as etcd_exceptions

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog.etcd import connection
from tmpl_glance_store.catalog.etcd import failures
from tmpl_glance_store.catalog.etcd import url as etcd_url
from tmpl_glance_store.catalog.etcd import wire

#: Seconds; etcd tells a watch every 10 or 11 minutes that it is there.
_SILENCE = 900


class Stream:
    """A connection on which a member tells of changes from now on.

    :param client: for this stream alone
    :raises Unavailable: if the member does not begin to tell
    """

    def __init__(
        self,
        endpoint: etcd_url.Endpoint,
        client: etcd3gw.Etcd3Client,
        request: Mapping[str, Any],
    ) -> None:
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._session = client.session
        with failures.translated(endpoint):
            self._response = client.session.post(
                client.get_url('/watch'),
                json=request,
                stream=True,
                timeout=connection.timeouts(),
            )
            if self._response.status_code != requests.codes.ok:
                raise etcd_exceptions.Etcd3Exception(
                    self._response.text, self._response.reason
                )
            connected = _socket_of(self._response)
            self._lines = filter(None, self._response.iter_lines(1 << 16))
            if not wire.message(next(self._lines, b'{}')).get('created'):
                raise etcd_exceptions.Etcd3Exception('no watch', 'no watch')
        connected.settimeout(_SILENCE)
        # A duplicate: whoever stops the stream must not meet a number that
        # has become another file's since the original was closed.
        self._socket = socket.fromfd(
            connected.fileno(), connected.family, connected.type
        )

    def changes(self) -> Iterator[Sequence[contract.Change]]:
        """Yield what changes, as it happens; block between.

        :raises Unavailable: if the stream ends, for whatever reason
        """
        with failures.translated(self.endpoint):
            for line in self._lines:
                if events := wire.message(line).get('events'):
                    yield [wire.change(event) for event in events]
        raise exceptions.Unavailable(
            f'etcd {self.endpoint}: the watch has ended'
        )

    def stop(self) -> None:
        """Let :meth:`changes` raise soon; for another thread."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give up the connection."""
        self._response.close()
        self._session.close()
        with self._lock:
            self._socket.close()


def _socket_of(response: requests.Response) -> socket.socket:
    connected: socket.socket = response.raw.connection.sock  # type: ignore
    return connected
