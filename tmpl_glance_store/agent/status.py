# SPDX-License-Identifier: Apache-2.0
"""What an agent says of its node: the body of ``/v1/status``, typed.

The agent writes it, the command line reads it; a reader ignores fields that it
does not know.
"""

import dataclasses
import json
from typing import Any, Self, TypeVar

from tmpl_glance_store import imagecache

#: A copy that waits for its turn to be fetched, or for a holder.
WAITING = 'waiting'
#: A copy that others are fetching from here.
SEEDING = 'seeding'
COMPLETE = 'complete'

#: A transfer that the swarm does not know yet; its other states are the
#: swarm's.
STARTING = 'starting'

_Row = TypeVar('_Row')


@dataclasses.dataclass(frozen=True, slots=True)
class Transfer:
    """A copy on its way here: ``done`` bytes of ``size`` are proved.

    ``download_rate`` is in bytes per second; ``eta`` in seconds, None if
    nobody can tell.
    """

    digest: str
    location: str
    size: int
    state: str = STARTING
    done: int = 0
    download_rate: int = 0
    peers: int = 0
    eta: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Copy:
    """A copy that is on a disk of the node, or is to be."""

    digest: str
    location: str
    state: str


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """A node at one moment; ``problem`` is what hinders its passes."""

    node: str
    release: str
    problem: str | None = None
    transfers: tuple[Transfer, ...] = ()
    copies: tuple[Copy, ...] = ()
    images: tuple[imagecache.BaseFile, ...] = ()

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
        return _record(
            cls,
            raw,
            transfers=_rows(Transfer, raw, 'transfers'),
            copies=_rows(Copy, raw, 'copies'),
            images=_rows(imagecache.BaseFile, raw, 'images'),
        )


def _rows(kind: type[_Row], raw: Any, name: str) -> tuple[_Row, ...]:
    rows = raw.get(name) if isinstance(raw, dict) else None
    if not isinstance(rows, list):
        raise ValueError(f'a status without {name}')
    return tuple(_record(kind, each) for each in rows)


def _record(kind: type[_Row], raw: Any, **known: Any) -> _Row:
    """Return the record in a JSON object; *known* are fields made already."""
    if not isinstance(raw, dict):
        raise ValueError(f'{kind.__name__}: not a JSON object')
    names = {each.name for each in dataclasses.fields(kind)}  # type: ignore
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in raw.items()
        if name in names
    }
    try:
        return kind(**{**fields, **known})
    except TypeError as exc:
        raise ValueError(f'{kind.__name__}: {exc}') from exc
