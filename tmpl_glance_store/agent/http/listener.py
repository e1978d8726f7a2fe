# SPDX-License-Identifier: Apache-2.0
"""The listener of the agent's API: where it listens, and its threads."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store import tls
from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent.http import server

LOG = logging.getLogger(__name__)

_WATCH = 0.5  # seconds between two looks for who is too slow


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
        threads: int = server.THREADS,
        timeout: float = 10,
        send_timeout: float = 60,
    ) -> None:
        self._server = server.Server(
            _resolve(host, port, context is not None),
            application,
            metrics,
            threads,
            timeout,
            send_timeout,
        )
        if context is not None:
            self._server.ssl_adapter = server.Adapter(context)
        self._listening = threading.Event()
        self._stopped = threading.Event()
        self._error: Exception | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The address and the port, once started."""
        host, port = self._server.bind_addr
        return host, port

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
    address = str(found[0][4][0])
    # Anybody there could read all templates.
    tls.require(address, 'the API', secure=secure)
    return address, port
