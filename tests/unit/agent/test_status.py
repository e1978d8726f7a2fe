# SPDX-License-Identifier: Apache-2.0
"""The status of a node, written and read."""

import json

import pytest

from tmpl_glance_store import imagecache
from tmpl_glance_store.agent import status

DIGEST = 'ab' * 32
STATUS = status.Status(
    node='n1',
    release='1.2',
    problem='the catalog is away',
    transfers=(
        status.Transfer(DIGEST, 'here', 100, 'fetching', 5, 3, 2, 1.5),
    ),
    copies=(status.Copy(DIGEST, 'here', status.SEEDING),),
    images=(
        imagecache.BaseFile(
            'image',
            DIGEST,
            'published',
            '',
            '/base',
            'reflink',
            False,
            True,
            ('vm1', 'vm2'),
        ),
    ),
)


def test_a_status_that_is_written_can_be_read() -> None:
    assert status.Status.from_json(STATUS.to_json()) == STATUS


def test_the_json_has_the_names_that_programs_know() -> None:
    shown = json.loads(STATUS.to_json())
    assert sorted(shown) == [
        'copies',
        'images',
        'node',
        'problem',
        'release',
        'transfers',
    ]
    assert shown['transfers'] == [
        {
            'digest': DIGEST,
            'location': 'here',
            'size': 100,
            'state': 'fetching',
            'done': 5,
            'download_rate': 3,
            'peers': 2,
            'eta': 1.5,
        }
    ]
    assert shown['copies'] == [
        {'digest': DIGEST, 'location': 'here', 'state': 'seeding'}
    ]
    assert shown['images'][0]['instances'] == ['vm1', 'vm2']


def test_a_transfer_that_begins_has_nothing_yet() -> None:
    begun = status.Transfer(DIGEST, 'here', 100)
    assert (begun.state, begun.done, begun.eta) == ('starting', 0, None)


def test_fields_of_a_newer_agent_are_ignored() -> None:
    raw = json.loads(STATUS.to_json())
    raw['mood'] = 'fine'
    raw['copies'][0]['colour'] = 'green'
    assert status.Status.from_raw(raw) == STATUS


@pytest.mark.parametrize(
    'raw',
    [
        None,
        [],
        {},
        {'transfers': [], 'copies': [], 'images': []},
        {'node': 'n1', 'release': '1', 'transfers': [], 'copies': []},
        {'node': 'n1', 'release': '1', 'transfers': 1, 'copies': []},
        {
            'node': 'n1',
            'release': '1',
            'transfers': [],
            'copies': [{'digest': DIGEST}],
            'images': [],
        },
        {
            'node': 'n1',
            'release': '1',
            'transfers': [],
            'copies': ['text'],
            'images': [],
        },
    ],
)
def test_what_is_no_status_is_refused(raw: object) -> None:
    with pytest.raises(ValueError):
        status.Status.from_json(json.dumps(raw))


ESCAPE = '\x1b]0;owned\x07'


@pytest.mark.parametrize(
    ('rows', 'field', 'value'),
    [
        ('copies', 'digest', 'ab'),
        ('copies', 'digest', ['ab' * 32]),
        ('copies', 'state', ESCAPE),
        ('copies', 'location', {'a': 1}),
        ('transfers', 'size', '5'),
        ('transfers', 'size', -1),
        ('transfers', 'done', True),
        ('transfers', 'eta', 1e400),
        ('transfers', 'location', ESCAPE),
        ('transfers', 'state', 'x' * 10000),
        ('images', 'image', ESCAPE),
        ('images', 'state', None),
        ('images', 'mode', ESCAPE),
        ('images', 'converted', 'yes'),
        ('images', 'instances', 'vm1'),
        ('images', 'instances', [1]),
        ('images', 'instances', ['vm'] * 10001),
    ],
)
def test_a_row_that_is_none_is_refused(
    rows: str, field: str, value: object
) -> None:
    raw = json.loads(STATUS.to_json())
    raw[rows][0][field] = value
    with pytest.raises(ValueError, match=field) as error:
        status.Status.from_raw(raw)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ('field', 'value'),
    [('node', ESCAPE), ('node', 5), ('release', ESCAPE), ('problem', 5)],
)
def test_a_node_that_names_itself_oddly_is_refused(
    field: str, value: object
) -> None:
    raw = {**json.loads(STATUS.to_json()), field: value}
    with pytest.raises(ValueError, match=field):
        status.Status.from_raw(raw)


def test_rows_are_bounded() -> None:
    raw = json.loads(STATUS.to_json())
    raw['copies'] *= status._MOST + 1
    with pytest.raises(ValueError, match='copies'):
        status.Status.from_raw(raw)


def test_texts_for_people_cannot_give_orders_to_a_terminal() -> None:
    raw = json.loads(STATUS.to_json())
    raw['problem'] = f'it{ESCAPE}\nhangs'
    raw['images'][0]['reason'] = ESCAPE * 10000
    raw['images'][0]['instances'] = [ESCAPE]
    read = status.Status.from_raw(raw)
    assert read.problem == 'it?]0;owned? hangs'
    assert read.images[0].reason.isprintable()
    assert len(read.images[0].reason) == 4096
    assert read.images[0].instances == ('?]0;owned?',)
