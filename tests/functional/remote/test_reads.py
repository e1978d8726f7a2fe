# SPDX-License-Identifier: Apache-2.0
"""Reading from other nodes: real listeners on loopback."""

import contextlib
import http.client
import pathlib

import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from tests.functional.remote.nodes import LONG
from tests.functional.remote.nodes import PIECE
from tests.functional.remote.nodes import SIZE
from tests.functional.remote.nodes import Node
from tests.functional.remote.nodes import Stored
from tests.functional.remote.nodes import read
from tests.functional.remote.nodes import store


def test_a_whole_read_gives_the_content(stored: Stored, node: Node) -> None:
    assert read(stored, node.url) == stored.content


@pytest.mark.parametrize('size', [0, 1, PIECE, PIECE + 1, 2 * PIECE])
def test_templates_of_all_shapes_are_read(
    tmp_path: pathlib.Path, size: int
) -> None:
    stored = store(tmp_path / 'location', size)
    with Node(stored.root) as node:
        assert read(stored, node.url) == stored.content


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    offset=strategies.integers(0, SIZE + 1),
    length=strategies.none() | strategies.integers(0, 2 * PIECE),
)
def test_a_range_gives_its_bytes_and_fetches_only_its_pieces(
    stored: Stored, node: Node, offset: int, length: int | None
) -> None:
    sent = node.value('sent_bytes_total')
    end = SIZE if length is None else min(offset + length, SIZE)
    assert (
        read(stored, node.url, offset=offset, length=length)
        == stored.content[offset:end]
    )
    first, last = offset // PIECE, -(-end // PIECE)
    expected = min(last * PIECE, SIZE) - first * PIECE if offset < end else 0
    assert node.value('sent_bytes_total') - sent == expected


def test_a_read_takes_one_connection_and_two_requests(
    tmp_path: pathlib.Path, stored: Stored
) -> None:
    with Node(stored.root) as node:
        read(stored, node.url)
        for name in 'data', 'pieces':
            code = '206' if name == 'data' else '200'
            assert (
                node.value(
                    'requests_total',
                    code=code,
                    endpoint=f'/v1/templates/<digest>/{name}',
                )
                == 1
            )


def test_one_connection_serves_many_requests(
    stored: Stored, node: Node
) -> None:
    client = http.client.HTTPConnection(*node.api.address, LONG)
    with contextlib.closing(client):
        for method, path, code, size in (
            ('HEAD', stored.path, 200, 0),
            ('GET', '/healthz', 200, 3),
            ('GET', stored.path, 200, SIZE),
            ('GET', '/metrics', 200, -1),
            ('DELETE', stored.path, 405, -1),
            ('GET', '/', 404, -1),
        ):
            client.request(method, path)
            sock = client.sock
            response = client.getresponse()
            assert response.status == code
            assert len(response.read()) == size or size < 0
            assert client.sock is sock


@pytest.mark.parametrize(
    'path',
    [
        '/v1/templates/../../image',
        '/v1/templates/..%2f..%2fimage/data',
        '/v1/templates/%2fetc%2fpasswd/data',
        '/v1/templates/{}/../data',
        '/v1/templates/{}/image',
        '/v1/templates/{}%00/data',
        '/v1//templates/{}/data',
    ],
)
def test_a_hostile_path_is_not_found(
    stored: Stored, node: Node, path: str
) -> None:
    digest = stored.template.digest
    assert node.ask(path.format(digest)) == 404
    assert node.ask(stored.path.replace(digest, digest.upper())) == 404
