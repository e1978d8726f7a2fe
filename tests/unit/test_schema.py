# SPDX-License-Identifier: Apache-2.0
"""Records: what is good comes back, what is not is named and never used."""

import dataclasses
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tmpl_glance_store import schema
from tmpl_glance_store.schema import field


@dataclasses.dataclass(frozen=True, slots=True)
class Pair(schema.Record):
    """A record of two fields that have to differ."""

    name: str = field(schema.text('[a-z]+'))
    count: int = field(schema.whole(0, 9))
    ratio: float = field(schema.number(0, 1), default=0.5)
    tags: tuple[str, ...] = field(
        schema.several(schema.line(8), most=2), default=()
    )
    state: str | None = field(
        schema.optional(schema.choice('on', 'off')), default=None
    )
    good: bool = field(schema.flag, default=True)
    known_here: str = dataclasses.field(default='ours')

    def agree(self) -> None:
        """Refuse what contradicts itself."""
        if self.name == 'zero' and self.count:
            raise ValueError('zero is not zero')


GOOD = Pair('x', 3, 0.25, ('a', 'b'), 'on', False)


def raw(**changes: Any) -> bytes:
    """Return the JSON of GOOD with some of its fields changed."""
    return json.dumps({**json.loads(GOOD.to_json()), **changes}).encode()


def test_a_record_comes_back_as_it_was() -> None:
    assert Pair.from_json(GOOD.to_json()) == GOOD


def test_what_is_only_known_here_is_neither_written_nor_read() -> None:
    there = dataclasses.replace(GOOD, known_here='mine')
    assert b'mine' not in there.to_json()
    assert Pair.from_json(raw(known_here='theirs')).known_here == 'ours'


def test_fields_that_are_not_known_are_ignored() -> None:
    assert Pair.from_json(raw(more={'deep': [1]})) == GOOD


def test_fields_that_are_missing_get_their_defaults() -> None:
    text = json.dumps({'version': schema.VERSION, 'name': 'x', 'count': 3})
    assert Pair.from_json(text) == Pair('x', 3)


@pytest.mark.parametrize(
    'changes',
    [
        {'name': 'X'},
        {'name': ['x']},
        {'name': 'x\n'},
        {'count': -1},
        {'count': 10},
        {'count': True},
        {'count': 1.0},
        {'count': '1'},
        {'ratio': 1.5},
        {'ratio': '1'},
        {'ratio': True},
        {'tags': 'ab'},
        {'tags': ['a', 'b', 'c']},
        {'tags': ['a' * 9]},
        {'tags': ['\x1b[31m']},
        {'tags': [1]},
        {'state': 'maybe'},
        {'state': 1},
        {'good': 1},
        {'good': None},
    ],
    ids=str,
)
def test_a_bad_field_is_named(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(schema.BadRecord, match=f'^Pair: {name}: '):
        Pair.from_json(raw(**changes))


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'{',
        b'null',
        b'[]',
        b'"text"',
        b'{"version": 2}',
        b'\xff\xfe',
        b'[' * 100_000,
        b'{"a":' * 100_000,
        b'{"version": 2, "name": "x", "count": ' + b'9' * 10_000 + b'}',
        b'{"version": 2, "name": "x", "count": 1, "ratio": NaN}',
        b'{"version": 2, "name": "x", "count": 1, "ratio": 1e999}',
        b' ' * (schema.MOST + 1),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_record_is_a_bad_one(data: bytes) -> None:
    with pytest.raises(schema.BadRecord, match=r'^Pair: '):
        Pair.from_json(data)


def test_a_contradiction_is_a_bad_record() -> None:
    with pytest.raises(schema.BadRecord, match='zero is not zero'):
        Pair.from_json(raw(name='zero', count=1))


@pytest.mark.parametrize(
    ('version', 'age'),
    [(schema.VERSION - 1, 'older'), (schema.VERSION + 1, 'newer')],
)
def test_another_version_is_told_from_a_bad_record(
    version: int, age: str
) -> None:
    with pytest.raises(schema.OtherVersion, match=age):
        Pair.from_json(raw(version=version))


@pytest.mark.parametrize('version', [None, '2', 2.0, True])
def test_a_record_needs_a_version(version: Any) -> None:
    with pytest.raises(schema.BadRecord, match='has no version'):
        Pair.from_json(raw(version=version))


def test_what_is_shown_of_a_bad_value_is_fit_for_a_terminal() -> None:
    with pytest.raises(schema.BadRecord) as caught:
        Pair.from_json(raw(name='\x1b]0;owned\x07' * 100))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@hypothesis.given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_a_record_or_a_bad_one(value: Any) -> None:
    try:
        record = Pair.from_json(json.dumps(value))
    except schema.BadRecord:
        return
    assert isinstance(record, Pair)


@hypothesis.given(st.binary())
def test_any_bytes_are_a_record_or_a_bad_one(data: bytes) -> None:
    with pytest.raises(schema.BadRecord):
        Pair.from_json(data)
