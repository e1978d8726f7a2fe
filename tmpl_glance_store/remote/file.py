# SPDX-License-Identifier: Apache-2.0
"""The bytes of one remote template, from whichever holder gives them."""

import collections
import logging
from collections.abc import Iterator, Sequence

from tmpl_glance_store import exceptions
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store.remote import contract

LOG = logging.getLogger(__name__)


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
        remote: contract.Holders,
        template: objects.Template,
        holders: Sequence[str],
        offset: int,
        length: int | None,
        chunk_size: int,
    ) -> None:
        self.size = template.size
        self._remote = remote
        self._template = template
        self._turns = _Turns(holders)
        self._chunk_size = chunk_size
        self._offset = min(offset, template.size)
        self._end = (
            template.size
            if length is None
            else min(offset + length, template.size)
        )
        self._connection: contract.Connection | None = None
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
                except contract.HolderFailed as exc:
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
        connection = self._connection or self._begin(url, index)
        template = self._template
        start = index * template.piece_size
        data = self._buffer[: min(template.piece_size, template.size - start)]
        connection.read_into(data)
        hash_at = index * merkle.HASH_SIZE
        if (
            merkle.piece_hash(data, template.size, template.piece_size)
            != self._layer[hash_at : hash_at + merkle.HASH_SIZE]
        ):
            self._remote.accuse(url, template.digest, index)
            raise contract.HolderLied(f'gave a bad piece {index}')
        self._gave = True
        self._turns.succeeded()
        return data

    def _begin(self, url: str, index: int) -> contract.Connection:
        """Ask the holder at *url* for everything from piece *index* on."""
        template = self._template
        self._connection = connection = self._remote.connect(url)
        self._gave = False
        try:
            self._layer = self._remote.layer(template, connection)
        except contract.HolderLied:
            self._remote.accuse(url, template.digest, None)
            raise
        last = (self._end - 1) // template.piece_size
        connection.start(
            template,
            index * template.piece_size,
            min((last + 1) * template.piece_size, template.size),
        )
        return connection

    def _drop(self, url: str, exc: contract.HolderFailed) -> None:
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
