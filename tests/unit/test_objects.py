# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import typing

import hypothesis
import pytest
from hypothesis import strategies as st

from tmpl_glance_store import objects

RECORDS = (
    objects.Template,
    objects.TemplateRecord,
    objects.Image,
    objects.Location,
    objects.Copy,
    objects.Node,
)

TEMPLATE = objects.Template(
    digest='d' * 64,
    size=5,
    position=objects.SPACE - 1,
    checksum='c',
    hashing_algo='sha512',
    multihash='m',
    piece_size=1 << 18,
    created_at=1.5,
)

REQUIRED = [
    (cls, field.name)
    for cls in RECORDS
    for field in dataclasses.fields(cls)
    if field.default is dataclasses.MISSING
]


def example(cls):
    """Return a record of *cls* with defaults wherever there are any."""
    types = typing.get_type_hints(cls)
    values = {
        str: 'x',
        int: 1,
        float: 1.0,
        bool: True,
        objects.Template: TEMPLATE,
    }
    return cls(
        **{
            f.name: values[types[f.name]]
            for f in dataclasses.fields(cls)
            if f.default is dataclasses.MISSING
        }
    )


def built(cls):
    """Return a strategy for any records of *cls*."""
    times = st.floats(allow_nan=False)
    any_of = {
        str: st.text(),
        str | None: st.none() | st.text(),
        int: st.integers(),
        bool: st.booleans(),
        float: times,
        float | None: st.none() | times,
        tuple[str, ...]: st.lists(st.text()).map(tuple),
    }
    if cls is objects.TemplateRecord:
        any_of[objects.Template] = built(objects.Template)
    return st.builds(
        cls,
        **{
            name: any_of[hint]
            for name, hint in typing.get_type_hints(cls).items()
            if not name.startswith('_')
        },
    )


@hypothesis.settings(deadline=None)
@hypothesis.given(st.one_of([built(cls) for cls in RECORDS]))
def test_a_record_survives_its_serialisation(record):
    again = type(record).from_json(record.to_json())
    assert again == record
    assert hash(again) == hash(record)
    assert again.to_json() == record.to_json()


@pytest.mark.parametrize('cls', RECORDS)
def test_a_record_is_utf8_json_with_its_version(cls):
    raw = json.loads(example(cls).to_json().decode())
    assert raw.pop('version') == objects.VERSION
    assert set(raw) == {f.name for f in dataclasses.fields(cls)}


@pytest.mark.parametrize('cls', RECORDS)
def test_a_record_cannot_be_changed(cls):
    record = example(cls)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, dataclasses.fields(cls)[0].name, 'y')


@pytest.mark.parametrize('cls', RECORDS)
def test_fields_of_a_newer_version_are_ignored(cls):
    raw = json.loads(example(cls).to_json())
    raw |= {'version': 99, 'shape': {'new': [1]}, '_build': 'x'}
    if 'template' in raw:
        raw['template'] |= {'shape': None}
    assert cls.from_json(json.dumps(raw)) == example(cls)


@pytest.mark.parametrize('cls', RECORDS)
def test_fields_that_an_older_version_lacks_get_their_defaults(cls):
    raw = json.loads(example(cls).to_json())
    del raw['version']
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            del raw[field.name]
    assert cls.from_json(json.dumps(raw)) == example(cls)


def test_a_template_record_of_an_older_version_has_an_older_template():
    raw = json.loads(objects.TemplateRecord(TEMPLATE).to_json())
    del raw['template']['format'], raw['images']
    assert objects.TemplateRecord.from_json(json.dumps(raw)) == (
        objects.TemplateRecord(TEMPLATE)
    )


@pytest.mark.parametrize(('cls', 'name'), REQUIRED)
def test_a_record_without_a_required_field_is_an_error(cls, name):
    raw = json.loads(example(cls).to_json())
    del raw[name]
    with pytest.raises(ValueError, match=name):
        cls.from_json(json.dumps(raw))


@pytest.mark.parametrize('cls', RECORDS)
@pytest.mark.parametrize(
    'data',
    [b'', b'{', b'[]', b'null', b'1', b'"x"', b'\xff', b'{}', b'\0' * 64],
)
def test_what_is_no_record_is_an_error(cls, data):
    with pytest.raises(ValueError):
        cls.from_json(data)


@pytest.mark.parametrize('template', [None, [], 'x', 1, {}])
def test_a_template_record_without_a_whole_template_is_an_error(template):
    raw = json.dumps({'template': template})
    with pytest.raises(ValueError, match='Template'):
        objects.TemplateRecord.from_json(raw)


def test_a_binding_is_that_of_its_digest_and_token_only():
    bound = objects.Image('one', 'd' * 64, '0' * 32, 1.0)
    assert bound.is_bound('d' * 64, '0' * 32)
    assert not bound.is_bound('d' * 64, '1' * 32)
    assert not bound.is_bound('e' * 64, '0' * 32)


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


# Rolling upgrades: as the release before this one wrote its records

BEFORE = {
    objects.Copy: (
        '{"complete": true, "digest": "d", "location_id": "l", "published": '
        '[], "verified_at": 1.5, "version": 1}'
    ),
    objects.Node: (
        '{"api": "http://127.0.0.1:1", "fetching": [], "full": [], "name": '
        '"n", "release": "0.1", "swarm": "127.0.0.1:2", "version": 1}'
    ),
    objects.Image: (
        '{"created_at": 1.0, "digest": "d", "image_id": "i", "token": "t", '
        '"version": 1}'
    ),
    objects.Location: (
        '{"id": "l", "node": "n", "path": "/p", "state": "active", "tier": '
        '"ssd", "version": 1, "weight": 1.0}'
    ),
    objects.TemplateRecord: (
        '{"deleted_at": null, "images": ["i"], "pinned": false, "template": '
        '{"checksum": "c", "created_at": 1.0, "digest": "d", "format": '
        '"raw", "hashing_algo": "sha512", "multihash": "m", "piece_size": '
        '1048576, "position": 5, "size": 7}, "version": 1}'
    ),
}


@pytest.mark.parametrize('record', BEFORE)
def test_records_of_the_release_before_are_read(record):
    old = json.loads(BEFORE[record])
    new = json.loads(record.from_json(BEFORE[record]).to_json())
    assert new == {**new, **old}


@pytest.mark.parametrize('record', BEFORE)
def test_the_release_before_reads_records_of_this_one(record):
    known = set(json.loads(BEFORE[record])) - {'version'}
    before = dataclasses.make_dataclass(
        record.__name__, sorted(known), bases=(objects.Record,), frozen=True
    )
    new = record.from_json(BEFORE[record]).to_json()
    read = before.from_json(new)
    assert {field.name for field in dataclasses.fields(read)} == known


def test_what_this_release_adds_has_a_default():
    copy = objects.Copy.from_json(BEFORE[objects.Copy])
    assert copy.refused == ''
    assert copy.published == ()
