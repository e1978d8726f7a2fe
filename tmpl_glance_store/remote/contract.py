# SPDX-License-Identifier: Apache-2.0
"""What a connection to a holder is, and how it fails. No code."""

from typing import Any, Protocol

from tmpl_glance_store import objects


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


class Holders(Protocol):
    """What a read needs of those who hold templates."""

    def connect(self, url: str) -> Connection:
        """Return a connection to the holder at *url*."""

    def layer(
        self, template: objects.Template, connection: Connection
    ) -> bytes:
        """Return the proved piece layer; raises HolderFailed."""

    def accuse(self, url: str, digest: str, piece: int | None) -> None:
        """Take note that a holder lied; *piece* None is its layer."""
