# SPDX-License-Identifier: Apache-2.0
"""The records of catalog and disk; test_schema.py and
test_objects_fields.py have the rest."""

import dataclasses
import hashlib
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from tests import facts
from tests.unit.good_records import HASH
from tests.unit.good_records import KINDS
from tests.unit.good_records import A
from tests.unit.good_records import fields
from tests.unit.good_records import spoilt
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import schema


@pytest.mark.parametrize('kind', KINDS)
def test_a_record_survives_its_serialisation(kind):
    record = KINDS[kind]
    again = type(record).from_json(record.to_json())
    assert again == record
    assert hash(again) == hash(record)
    assert again.to_json() == record.to_json()


@pytest.mark.parametrize('kind', KINDS)
def test_a_record_is_utf8_json_with_its_version(kind):
    raw = json.loads(KINDS[kind].to_json().decode())
    assert raw.pop('version') == schema.VERSION
    assert set(raw) == set(fields(KINDS[kind]))


@pytest.mark.parametrize('kind', KINDS)
def test_a_record_cannot_be_changed(kind):
    record = KINDS[kind]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, next(iter(fields(record))), 'y')


def test_each_kind_of_record_is_tried_here():
    known = {
        name
        for name, each in vars(objects).items()
        if isinstance(each, type)
        and issubclass(each, schema.Record)
        and each.__module__ == objects.__name__
    }
    assert set(KINDS) == known


@pytest.mark.parametrize(
    ('kind', 'name'),
    [(kind, name) for kind in KINDS for name in fields(KINDS[kind])],
)
def test_a_field_that_is_missing_has_its_default_or_is_an_error(kind, name):
    record = KINDS[kind]
    raw = json.loads(record.to_json())
    del raw[name]
    default = fields(record)[name].default
    if default is dataclasses.MISSING:
        with pytest.raises(schema.BadRecord, match=f'^{kind}: .*{name}'):
            type(record).from_json(json.dumps(raw))
    else:
        assert type(record).from_json(json.dumps(raw)) == dataclasses.replace(
            record, **{name: default}
        )


# Identity


def facts_of(data):
    """Return the facts of a content."""
    hasher = merkle.TreeHasher()
    hasher.update(data)
    root, _ = hasher.finish()
    return facts.template(
        size=len(data),
        root=root.hex(),
        digest=merkle.identify(len(data), root),
    )


@pytest.mark.parametrize(
    'changes',
    [
        {'size': 6},
        {'size': 0},
        {'root': HASH},
        {'digest': HASH},
        {'digest': facts.template().root},
        {'piece_size': 0},
        {'piece_size': merkle.piece_size(5) * 2},
        {'digest': facts.digest('b')},
        {'root': facts.template('b').root},
        {'root': facts.template('b').root, 'digest': facts.digest('b', 6)},
    ],
    ids=str,
)
def test_digest_size_root_and_pieces_must_agree(changes):
    with pytest.raises(schema.BadRecord, match='contradict each other'):
        objects.Template.from_json(spoilt(facts.template(), **changes))


@hypothesis.given(
    st.integers(0, (1 << 63) - 1), st.binary(min_size=32, max_size=32)
)
def test_a_digest_is_the_hash_of_size_and_root(size, root):
    assert merkle.identify(size, root) == (
        hashlib.sha256(size.to_bytes(8, 'big') + root).hexdigest()
    )


def test_a_file_of_two_child_hashes_is_never_taken_for_the_big_one():
    """BEP 52 does not part leaves from inner nodes."""
    halves = [bytes([n]) * merkle.BLOCK for n in (1, 2)]
    big = facts_of(b''.join(halves))
    small = facts_of(b''.join(hashlib.sha256(h).digest() for h in halves))
    assert (big.size, small.size) == (2 * merkle.BLOCK, 64)
    assert big.root == small.root
    assert big.digest != small.digest
    for record in big, small:
        assert objects.Template.from_json(record.to_json()) == record
    for forged in (
        spoilt(big, size=small.size),
        spoilt(small, size=big.size),
        spoilt(big, digest=small.digest),
        spoilt(small, digest=big.digest),
    ):
        with pytest.raises(schema.BadRecord, match='contradict each other'):
            objects.Template.from_json(forged)


# Bindings, locations, patterns


def test_a_binding_is_that_of_its_digest_and_token_only():
    token = facts.token()
    bound = objects.Image('one', A, objects.hash_token(token), 1.0)
    assert bound.is_bound(A, token)
    assert not bound.is_bound(A, facts.token('1'))
    assert not bound.is_bound(HASH, token)
    # Who reads the catalog cannot make a location's URL of it.
    assert not bound.is_bound(A, bound.token_hash)
    assert token.encode() not in bound.to_json()


def test_a_token_is_random_and_fits_into_a_url():
    tokens = {objects.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(objects.TOKEN.fullmatch(each) for each in tokens)


def test_what_an_operator_wants_is_not_in_the_record_of_a_node():
    location = dataclasses.replace(KINDS['Location'], state=objects.RETIRED)
    assert b'retired' not in location.to_json()
    read = objects.Location.from_json(spoilt(location, state=objects.RETIRED))
    assert read.state == objects.ACTIVE


@pytest.mark.parametrize('health', objects.HEALTH)
def test_a_location_that_is_missing_or_refused_cannot_be_read(health):
    location = dataclasses.replace(KINDS['Location'], health=health)
    assert location.is_readable is (health not in {'missing', 'refused'})


@pytest.mark.parametrize(
    ('pattern', 'good'),
    [
        (objects.CLUSTER, ['a', '0', 'a_b-c', 'a' * 63]),
        (objects.NODE, ['a', 'node-1.example.org', 'a' * 253]),
        (
            objects.IMAGE_ID,
            ['a', '0f3c5b5e-0000-4000-8000-000000000000', 'a' * 64],
        ),
        (objects.DIGEST, ['0123456789abcdef' * 4]),
        (objects.TOKEN, ['0123456789abcdef' * 2]),
    ],
)
def test_a_part_of_a_url_follows_a_strict_pattern(pattern, good):
    assert all(pattern.fullmatch(text) for text in good)
    bad = [
        '',
        good[0].upper() + 'A',
        good[-1] + 'a',
        good[0] + '\n',
        '../' + good[0],
        good[0] + '/',
        '-' + good[0],
        '.',
        '..',
        'ä',
        good[0][:-1] + '\u0661',
        '%41',
    ]
    assert not [text for text in bad if pattern.fullmatch(text)]
