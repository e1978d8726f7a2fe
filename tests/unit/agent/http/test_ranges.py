# SPDX-License-Identifier: Apache-2.0
"""Parts of a template."""

import pytest

from tests.unit.agent.http.node import CONTENT
from tests.unit.agent.http.node import DIGEST
from tests.unit.agent.http.node import SIZE
from tests.unit.agent.http.node import Node
from tests.unit.agent.http.node import data


@pytest.mark.parametrize(
    ('wanted', 'start', 'end'),
    [
        ('bytes=0-0', 0, 1),
        ('bytes=10-299999', 10, 300000),
        ('bytes=5-', 5, SIZE),
        ('bytes=-5', SIZE - 5, SIZE),
        (f'bytes=-{SIZE + 1}', 0, SIZE),
        (f'bytes={SIZE - 1}-{SIZE + 10}', SIZE - 1, SIZE),
        ('bytes= 0-1 ', 0, 2),
        ('BYTES=0-1', 0, 2),
    ],
)
def test_a_range_is_sent(
    node: Node, wanted: str, start: int, end: int
) -> None:
    answer = node.get(data(), Range=wanted)
    assert (answer.status_code, answer.data) == (206, CONTENT[start:end])
    assert answer.headers['Content-Range'] == f'bytes {start}-{end - 1}/{SIZE}'
    assert answer.content_length == end - start
    assert node.value('tmpl_api_sent_bytes_total') == end - start


@pytest.mark.parametrize(
    'wanted',
    [
        f'bytes={SIZE}-',
        'bytes=-0',
        'bytes=5-2',
        'bytes=0-1,3-4',
        'bytes=x-1',
        'bytes=-',
        'bytes=',
        'bytes=1',
        'bytes=--1',
        f'bytes={"9" * 30}-',
        'bytes=\xb2-',
    ],
)
def test_a_range_that_cannot_be_is_refused(node: Node, wanted: str) -> None:
    answer = node.get(data(), Range=wanted)
    assert answer.status_code == 416
    assert answer.headers['Content-Range'] == f'bytes */{SIZE}'


def test_a_range_in_another_unit_is_ignored(node: Node) -> None:
    answer = node.get(data(), Range='lines=0-1')
    assert (answer.status_code, answer.data) == (200, CONTENT)


@pytest.mark.parametrize(
    ('condition', 'status'),
    [
        (f'"{DIGEST}"', 206),
        ('"other"', 200),
        ('Sat, 29 Oct 1994 19:43:31 GMT', 200),
    ],
)
def test_a_range_may_depend_on_the_digest(
    node: Node, condition: str, status: int
) -> None:
    answer = node.get(data(), Range='bytes=0-9', If_Range=condition)
    assert answer.status_code == status


def test_a_refused_range_takes_no_place(node: Node) -> None:
    for _ in range(5):
        assert node.get(data(), Range='bytes=5-2').status_code == 416
    assert node.value('tmpl_api_streams') == 0
