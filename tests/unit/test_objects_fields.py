# SPDX-License-Identifier: Apache-2.0
"""The fields of the records: each refuses what it must not be."""

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.good_records import GOOD
from tests.unit.good_records import HASH
from tests.unit.good_records import KINDS
from tests.unit.good_records import A
from tests.unit.good_records import fields
from tests.unit.good_records import spoilt
from tmpl_glance_store import objects
from tmpl_glance_store import schema

HEX64 = [HASH[:-1], HASH + '0', HASH.upper().replace('0', 'A'), '../' + HASH]
DIGESTS = [*HEX64, f'{HASH[:-1]}\n', '\u0661' * 64, '', '../instances']
WHOLE = [-1, 1.0, '1', True, 1 << 63]
TIMES = [-1, -0.5, '1', True, 1e16]
IDS = ['', '-a', 'a/b', '../a', 'a' * 65, 'ä', 'a\n', 'a b', '.']
LINES = ['\x1b[31m', 'a\nb', '\u202e', 'x' * 1025, 'a\0']
PLACES = [
    '',
    'x',
    '/x',
    'n/',
    'n/x/y',
    'n/../x',
    'N/x',
    '../n/x',
    'n/X',
    'n/' + 'x' * 37,
    '.n/x',
]
NODES = ['', 'N', 'n/x', '../n', '-n', 'n\n', 'n' * 254, 'ä']

BAD = {
    'Template.digest': DIGESTS,
    'Template.root': DIGESTS,
    'Template.size': WHOLE,
    'Template.position': [-1, 1 << 64, 1.0, '1', True],
    'Template.checksum': ['', 'G', 'A', 'a' * 257, '../a'],
    'Template.hashing_algo': ['', '../sha', '\n', 'a' * 65],
    'Template.multihash': ['', 'G', 'A', 'a' * 257],
    'Template.piece_size': WHOLE,
    'Template.created_at': TIMES,
    'Template.format': ['', '../raw', 'a b', 'a' * 65],
    'Template.held': LINES,
    'Head.digest': DIGESTS,
    'Head.images': WHOLE,
    'Claim.digest': DIGESTS,
    'Claim.image_id': IDS,
    'Pin.digest': DIGESTS,
    'Pin.pinned_at': TIMES,
    'Deletion.digest': DIGESTS,
    'Deletion.deleted_at': TIMES,
    'Image.image_id': IDS,
    'Image.digest': DIGESTS,
    'Image.token_hash': DIGESTS,
    'Image.created_at': TIMES,
    'Image.confirmed_at': TIMES,
    'Placement.location_id': PLACES,
    'Placement.state': ['', 'lost', 'Active', 1],
    'Location.id': [*PLACES, 'other/x', 'node-1.example2/x', 'node-1/x'],
    'Location.node': [*NODES, 'other'],
    'Location.tier': ['', 'SSD', 'nvme', 1],
    'Location.path': ['', 'relative', '/a\nb', '/a\0', '/' + 'x' * 4096],
    'Location.weight': TIMES,
    'Location.size': WHOLE,
    'Location.free': WHOLE,
    'Location.health': ['', 'lost', 'Well', 1],
    'Location.reason': LINES,
    'Copy.digest': DIGESTS,
    'Copy.location_id': PLACES,
    'Copy.complete': [0, 1, 'true'],
    'Copy.verified_at': TIMES,
    'Copy.published': ['One', [1], ['../_base'], [''], {'a': 1}],
    'Copy.refused': LINES,
    'Node.name': NODES,
    'Node.api': [
        '',
        'ftp://n:1',
        'https://n:1/../x',
        'https://u@n:1',
        'https://n:1?x',
        'https://n:1#x',
        'https://n\n:1',
        'file:///etc/passwd',
    ],
    'Node.swarm': ['', 'n', 'n:', ':1', 'n:123456', 'n:1\n', 'a b:1'],
    'Node.release': [*LINES, 'x' * 65],
    'Node.fetching': [A, [1], ['../x'], [HASH[:-1]]],
    'Node.full': [A, [1], ['../x'], [HASH[:-1]]],
    'Node.instance': [*LINES, 'x' * 65],
    'Node.host': [*LINES, 'x' * 256],
    'History.seed': [-1, 1 << 64, 1.0, '1', True],
    'History.epoch': WHOLE,
    'History.created_at': TIMES,
    'History.id': ['A', 'g', 'a' * 33, 'a\n'],
}
ANY_WRONG = [[], {}, [[]], ['x\n'], {'a': {}}]


def test_each_field_has_bad_values():
    assert set(BAD) == {
        f'{kind}.{name}' for kind in KINDS for name in fields(KINDS[kind])
    }


@pytest.mark.parametrize('which', BAD)
def test_a_bad_value_of_a_field_is_refused_and_shown_safely(which):
    kind, _, name = which.partition('.')
    record = KINDS[kind]
    is_list = isinstance(getattr(record, name), tuple)
    optional = fields(record)[name].default is None
    for value in (
        *BAD[which],
        *(ANY_WRONG[2:] if is_list else ANY_WRONG),
        *([] if optional else [None]),
    ):
        with pytest.raises(schema.BadRecord, match=f'^{kind}: ') as caught:
            type(record).from_json(spoilt(record, **{name: value}))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize('number', ['NaN', 'Infinity', '-Infinity', '1e999'])
def test_what_is_no_number_is_refused(number):
    text = KINDS['Pin'].to_json().replace(b'5.0', number.encode())
    with pytest.raises(schema.BadRecord):
        objects.Pin.from_json(text)


@hypothesis.given(
    st.sampled_from(GOOD),
    st.data(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)
def test_whatever_stands_in_a_field_it_comes_back_or_is_a_bad_record(
    record, data, value
):
    name = data.draw(st.sampled_from(sorted(fields(record))))
    try:
        read = type(record).from_json(spoilt(record, **{name: value}))
    except schema.BadRecord:
        return
    assert type(record).from_json(read.to_json()) == read
