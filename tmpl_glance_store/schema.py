# SPDX-License-Identifier: Apache-2.0
"""Records as JSON, checked field by field by whoever reads them.

What is read here was written by another process, perhaps on another node,
perhaps by somebody who has taken it over. So nothing of it is used before its
type, its form and its range have been checked: a record is good as a whole,
or it is none.
"""

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any, Self, TypeVar

#: Of every record and of the layout of catalog and disk.
VERSION = 2

#: Bytes that a record may have at most; etcd takes 1.5 MiB at a time.
MOST = 1 << 20

_CHECK = 'check'

_Kind = TypeVar('_Kind')

#: Returns a value as the record shall have it; raises ValueError, saying why.
Check = Callable[[Any], Any]


class BadRecord(ValueError):
    """Not a record of its kind; says in what."""


class OtherVersion(BadRecord):
    """A record of another release, older or newer; says of which."""


def field(check: Check, **options: Any) -> Any:
    """Return a field of a dataclass whose values pass *check* when read."""
    return dataclasses.field(metadata={_CHECK: check}, **options)


def text(pattern: re.Pattern[str] | str) -> Check:
    """Check for a string that matches *pattern* as a whole."""
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f'{_shown(value)} is not {compiled.pattern}')
        return value

    return check


def line(most: int = 1024) -> Check:
    """Check for a line of at most *most* characters that a terminal can show.

    Control characters of a stranger's text would be orders to it.
    """

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f'{_shown(value)} is not a short text')
        if not value.isprintable():
            raise ValueError(f'{_shown(value)} has control characters')
        return value

    return check


def prose(most: int = 4096) -> Check:
    """Take a text for people, fit for a terminal: cut, and on one line."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f'{_shown(value)} is not a text')
        return printable(value[:most])

    return check


def whole(low: int = 0, high: int = (1 << 63) - 1) -> Check:
    """Check for an integer from *low* to *high*, both included."""

    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(
                f'{_shown(value)} is not an integer from {low} to {high}'
            )
        return value

    return check


def number(low: float = 0.0, high: float = 1e15) -> Check:
    """Check for a number from *low* to *high*, both included."""

    def check(value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError(
                f'{_shown(value)} is not a number from {low:g} to {high:g}'
            )
        return float(value)

    return check


def flag(value: Any) -> bool:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise ValueError(f'{_shown(value)} is neither true nor false')
    return value


def choice(*values: str) -> Check:
    """Check for one of *values*."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise ValueError(f'{_shown(value)} is none of {", ".join(values)}')
        return value

    return check


def optional(check: Check) -> Check:
    """Check for null, or what passes *check*."""
    return lambda value: None if value is None else check(value)


def several(check: Check, most: int = 100_000) -> Check:
    """Check for a list of at most *most* values that pass *check*."""

    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f'{_shown(value)} is not a list of up to {most}')
        return tuple(map(check, value))

    return check_all


def printable(text: str) -> str:
    """Return *text* with a ``?`` for each order to a terminal in it."""
    return ''.join(
        each if each.isprintable() else ' ' if each.isspace() else '?'
        for each in text
    )


def read(kind: type[_Kind], raw: Any) -> _Kind:
    """Return the dataclass *kind* that a JSON value holds.

    Its fields were made by :func:`field`. Unknown ones are ignored.

    :raises BadRecord: if it holds none
    """
    try:
        if not isinstance(raw, dict):
            raise ValueError('it is not a JSON object')
        return kind(**_values(kind, raw))
    except (ValueError, TypeError) as exc:
        raise BadRecord(f'{kind.__name__}: {exc}') from exc


class Record:
    """A frozen dataclass whose fields were made by :func:`field`."""

    __slots__ = ()

    def to_json(self) -> bytes:
        """Return this record as UTF-8 JSON with its version."""
        fields = {
            each.name: getattr(self, each.name)
            for each in dataclasses.fields(self)  # type: ignore[arg-type]
            if _CHECK in each.metadata
        }
        return json.dumps(
            {'version': VERSION, **fields}, sort_keys=True
        ).encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Return the record in *data*; unknown fields are ignored.

        :raises BadRecord: if it is none, whatever the bytes are
        """
        try:
            if len(data) > MOST:
                raise ValueError(f'{len(data)} bytes are too many')
            raw = json.loads(data, parse_constant=_refuse)
            if not isinstance(raw, dict):
                raise ValueError('it is not a JSON object')
            _require_version(raw.get('version'))
            record = cls(**_values(cls, raw))
            record.agree()
            return record
        except OtherVersion as exc:
            raise OtherVersion(f'{cls.__name__}: {exc}') from exc
        except (ValueError, TypeError, RecursionError) as exc:
            raise BadRecord(f'{cls.__name__}: {exc}') from exc

    def agree(self) -> None:
        """Make sure that the fields agree with each other.

        :raises ValueError: if they do not; says in what
        """


def _values(kind: type[Any], raw: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of *kind* that are in *raw*, checked."""
    values = {}
    for each in dataclasses.fields(kind):
        if each.name in raw and _CHECK in each.metadata:
            try:
                values[each.name] = each.metadata[_CHECK](raw[each.name])
            except ValueError as exc:
                raise ValueError(f'{each.name}: {exc}') from exc
    return values


def _require_version(version: Any) -> None:
    if type(version) is not int:
        raise ValueError('it has no version')
    if version != VERSION:
        age = 'newer' if version > VERSION else 'older'
        raise OtherVersion(
            f'it is of version {version}, from {age} software than this, '
            f'which reads version {VERSION}'
        )


def _refuse(constant: str) -> None:
    raise ValueError(f'{constant} is not JSON')


def _shown(value: Any) -> str:
    """Return *value* fit for a log, whoever has written it."""
    shown = ascii(value) if not isinstance(value, int) else hex(value)
    return shown if len(shown) <= 60 else f'{shown[:57]}...'
