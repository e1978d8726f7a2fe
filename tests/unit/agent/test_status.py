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
