# SPDX-License-Identifier: Apache-2.0
"""Reads templates from the agents of other nodes, and proves what it gets.

A holder is not trusted: no byte is handed on before its piece is proved
against the digest (BEP 52), and a holder that dies, stalls or lies is
replaced by the next one in the middle of a read.
"""

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls
from tmpl_glance_store.remote import contract
from tmpl_glance_store.remote import file
from tmpl_glance_store.remote import http

LOG = logging.getLogger(__name__)

#: Larger chunks come fresh from the kernel each time, at half the speed.
MAX_CHUNK = 256 << 10

_LAYERS = 32  # of up to 256 KiB each
_SUSPICION = 600  # seconds


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
        connect: Callable[[str], contract.Connection] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_lie = on_lie
        self._connect = connect or (
            lambda url: http.HttpConnection(url, context, timeout)
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
    ) -> file.RemoteFile:
        """Return the bytes of a template from *offset* on.

        The first piece is here and proved when this returns.

        :param holders: base URLs of the API of live holders, the one to ask
            first first; who lied lately comes last all the same
        :param length: bytes to give, None for all that follow
        :param chunk_size: the most bytes to give at a time
        :raises Unavailable: if no holder gives them now; says why for each
        """
        return file.RemoteFile(
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
            except contract.HolderLied as exc:
                self.accuse(url, template.digest, None)
                reasons.append(f'{url} {exc}')
            except contract.HolderFailed as exc:
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
        except contract.HolderFailed as exc:
            raise exceptions.Unavailable(f'{url} {exc}') from exc
        finally:
            connection.close()

    def connect(self, url: str) -> contract.Connection:
        """Return a connection to the holder at *url*."""
        return self._connect(url)

    def layer(
        self, template: objects.Template, connection: contract.Connection
    ) -> bytes:
        """Return the proved piece layer of a template.

        :raises HolderFailed: if it is not known, and *connection* does not
            give it
        """
        if template.size <= template.piece_size:
            return bytes.fromhex(template.root)
        with self._lock:
            layer = self._layers.get(template.digest)
        if layer is None:
            layer = connection.layer(template)
            try:
                merkle.prove_layer(
                    layer,
                    template.size,
                    template.piece_size,
                    bytes.fromhex(template.root),
                )
            except ValueError as exc:
                raise contract.HolderLied(
                    f'gave a bad piece layer: {exc}'
                ) from exc
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
