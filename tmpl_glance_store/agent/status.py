# SPDX-License-Identifier: Apache-2.0
"""What an agent says of its node: the body of ``/v1/status``, typed.

The agent writes it, the command line reads it; a reader ignores fields that it
does not know. It checks the others, since the node may have been taken over:
types, numbers of rows, and that a terminal can show each text.
"""

import dataclasses
import functools
import json
from typing import Any, Self

from tmpl_glance_store import imagecache
from tmpl_glance_store import objects
from tmpl_glance_store import schema

#: A copy that waits for its turn to be fetched, or for a holder.
WAITING = 'waiting'
#: A copy that others are fetching from here.
SEEDING = 'seeding'
COMPLETE = 'complete'

#: A transfer that the swarm does not know yet; its other states are the
#: swarm's.
STARTING = 'starting'
_MOST = 100_000  # rows of each kind

_digest = schema.text(objects.DIGEST)
_name = schema.line(320)
_whole = schema.whole()


def _rows(kind: type) -> schema.Check:
    """Check for a list of records of that kind."""
    return schema.several(functools.partial(schema.read, kind), _MOST)


@dataclasses.dataclass(frozen=True, slots=True)
class Transfer:
    """A copy on its way here: ``done`` bytes of ``size`` are proved.

    ``download_rate`` is in bytes per second; ``eta`` in seconds, None if
    nobody can tell.
    """

    digest: str = schema.field(_digest)
    location: str = schema.field(_name)
    size: int = schema.field(_whole)
    state: str = schema.field(_name, default=STARTING)
    done: int = schema.field(_whole, default=0)
    download_rate: int = schema.field(_whole, default=0)
    peers: int = schema.field(_whole, default=0)
    eta: float | None = schema.field(
        schema.optional(schema.number()), default=None
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Copy:
    """A copy that is on a disk of the node, or is to be."""

    digest: str = schema.field(_digest)
    location: str = schema.field(_name)
    state: str = schema.field(_name)


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """A node at one moment; ``problem`` is what hinders its passes."""

    node: str = schema.field(schema.text(objects.NODE))
    release: str = schema.field(schema.line(64))
    problem: str | None = schema.field(
        schema.optional(schema.prose()), default=None
    )
    transfers: tuple[Transfer, ...] = schema.field(_rows(Transfer), default=())
    copies: tuple[Copy, ...] = schema.field(_rows(Copy), default=())
    images: tuple[imagecache.BaseFile, ...] = schema.field(
        _rows(imagecache.BaseFile), default=()
    )

    def to_json(self) -> str:
        """Return what ``/v1/status`` shows."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Return the status in *data*.

        :raises ValueError: if it is none
        """
        return cls.from_raw(json.loads(data))

    @classmethod
    def from_raw(cls, raw: Any) -> Self:
        """Return the status in a JSON value.

        :raises ValueError: if it is none
        """
        status = schema.read(cls, raw)
        for name in 'transfers', 'copies', 'images':
            if name not in raw:
                raise schema.BadRecord(f'a status without {name}')
        return status
