# SPDX-License-Identifier: Apache-2.0
"""A holder in memory, and the connection to it.

The connection passes the suite of the one by HTTP
(``tests/contract/remote.py``).
"""

import dataclasses
from typing import Any

from tmpl_glance_store import objects
from tmpl_glance_store.remote import contract


@dataclasses.dataclass
class Holder:
    """A holder and its faults; *asked* are the ranges asked for."""

    content: bytes
    layer: bytes
    size: int  # of its pieces
    digest: str | None = None  # None: answers for any
    down: bool = False
    dies_at: int | None = None  # piece
    flipped: tuple[int, ...] = ()  # pieces
    asked: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    layers_asked: int = 0
    sent: int = 0
    connections: int = 0


class Connection:
    """An implementation of :class:`contract.Connection` in memory."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.at = 0
        holder.connections += 1
        self.closed = False

    def layer(self, template: objects.Template) -> bytes:
        self._require(template)
        self.holder.layers_asked += 1
        return self.holder.layer

    def start(self, template: objects.Template, start: int, end: int) -> None:
        self._require(template)
        self.holder.asked.append((start, end))
        self.at = start

    def read_into(self, buffer: memoryview) -> None:
        self._require_up()
        piece = self.at // self.holder.size
        if piece == self.holder.dies_at:
            raise contract.HolderFailed('died')
        assert self.at + len(buffer) <= self.holder.asked[-1][1]
        buffer[:] = self.holder.content[self.at : self.at + len(buffer)]
        if piece in self.holder.flipped:
            buffer[-1] ^= 1
        self.at += len(buffer)
        self.holder.sent += len(buffer)

    def status(self) -> dict[str, Any]:
        self._require_up()
        return {'copies': []}

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.holder.connections -= 1

    def _require_up(self) -> None:
        assert not self.closed
        if self.holder.down:
            raise contract.HolderFailed('is down')

    def _require(self, template: objects.Template) -> None:
        self._require_up()
        if self.holder.digest not in (None, template.digest):
            raise contract.HolderFailed('has it not')
