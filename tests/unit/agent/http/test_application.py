# SPDX-License-Identifier: Apache-2.0
"""What the API answers."""

import contextlib
import json
import os

import pytest

from tests.unit.agent.http.node import CONTENT
from tests.unit.agent.http.node import DIGEST
from tests.unit.agent.http.node import EMPTY
from tests.unit.agent.http.node import SIZE
from tests.unit.agent.http.node import STATUS
from tests.unit.agent.http.node import Node
from tests.unit.agent.http.node import data
from tmpl_glance_store import exceptions
from tmpl_glance_store.agent import status as agent_status
from tmpl_glance_store.agent.http import clients


def test_the_whole_template_is_sent(node: Node) -> None:
    answer = node.get(data())
    assert (answer.status_code, answer.data) == (200, CONTENT)
    assert answer.headers['Accept-Ranges'] == 'bytes'
    assert answer.headers['Content-Type'] == 'application/octet-stream'
    assert answer.get_etag() == (DIGEST, False)


def test_head_tells_the_size_and_sends_nothing(node: Node) -> None:
    answer = node.client.head(
        data(), buffered=True, headers={'Range': 'bytes=0-9'}
    )
    assert (answer.status_code, answer.data) == (200, b'')
    assert answer.content_length == SIZE


def test_an_empty_template_is_sent(node: Node) -> None:
    assert node.get(data(EMPTY)).status_code == 200
    assert node.get(data(EMPTY), Range='bytes=0-').status_code == 416


def test_the_piece_layer_is_sent(node: Node) -> None:
    answer = node.get(f'/v1/templates/{DIGEST}/pieces')
    assert (answer.status_code, answer.data) == (200, b'layer')


@pytest.mark.parametrize(
    'digest',
    [
        'ef' * 32,
        DIGEST.upper(),
        DIGEST[:-1],
        DIGEST + '0',
        DIGEST + '%0a',
        '..',
        '../' + DIGEST,
        '%2e%2e%2f' + DIGEST,
        '..%2f' + DIGEST,
        DIGEST + '/..',
        './' + DIGEST,
        '',
        DIGEST[:-1] + '%00',
    ],
)
@pytest.mark.parametrize('name', ['data', 'pieces'])
def test_a_hostile_or_unknown_digest_is_not_found(
    node: Node, digest: str, name: str
) -> None:
    # Something is there that a lax check would find.
    (node.directory / 'image').write_bytes(b'secret')
    (node.directory / DIGEST.upper()).symlink_to(DIGEST)
    answer = node.get(f'/v1/templates/{digest}/{name}')
    assert answer.status_code == 404
    assert b'secret' not in answer.data


def test_a_copy_that_is_removed_meanwhile_is_not_found(node: Node) -> None:
    (node.directory / DIGEST / 'image').unlink()
    assert node.get(data()).status_code == 404


def test_a_file_that_becomes_shorter_breaks_the_answer(node: Node) -> None:
    answer = node.client.get(data(), buffered=False)
    with contextlib.closing(answer):
        parts = answer.iter_encoded()
        next(parts)
        os.truncate(node.directory / DIGEST / 'image', 300000)
        with pytest.raises(OSError, match='shorter'):
            list(parts)


def test_reads_at_a_time_are_bounded(node: Node) -> None:
    with contextlib.ExitStack() as open_reads:
        for caller in 'ab':
            node.caller = clients.Client(caller, may_read=True, may_watch=True)
            answer = node.client.get(data(), buffered=False)
            open_reads.callback(answer.close)
            assert answer.status_code == 200
        assert node.value('tmpl_api_streams') == 2
        assert node.get(data()).status_code == 503
        assert node.get('/healthz').status_code == 200
    assert node.value('tmpl_api_streams') == 0
    assert node.get(data()).status_code == 200


def test_one_client_leaves_reads_to_others(node: Node) -> None:
    a, b = (clients.Client(key, may_read=True) for key in 'ab')
    node.caller = a
    answer = node.client.get(data(), buffered=False)
    with contextlib.closing(answer):
        assert node.get(data()).status_code == 503
        node.caller = b
        assert node.get(data()).status_code == 200
    node.caller = a
    assert node.get(data()).status_code == 200


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'PATCH'])
def test_nothing_can_be_changed(node: Node, method: str) -> None:
    answer = node.client.open(data(), method=method, buffered=True)
    assert answer.status_code == 405


def test_the_status_is_json(node: Node) -> None:
    answer = node.get('/v1/status')
    assert answer.headers['Content-Type'] == 'application/json'
    assert json.loads(answer.data)['transfers'][0]['digest'] == DIGEST
    assert agent_status.Status.from_json(answer.data) == STATUS


def test_a_status_that_is_not_known_now_may_be_asked_for_again(
    node: Node,
) -> None:
    node.status = exceptions.Unavailable('the catalog does not answer')
    answer = node.get('/v1/status')
    assert answer.status_code == 503
    assert b'the catalog does not answer' in answer.data


def test_a_mistake_of_ours_is_not_shown_to_clients(node: Node) -> None:
    node.status = RuntimeError('some inner detail')
    answer = node.get('/v1/status')
    assert answer.status_code == 500
    assert b'some inner detail' not in answer.data


def test_health_is_told_with_a_line(node: Node) -> None:
    assert node.get('/healthz').status_code == 200
    node.health = False, 'the catalog does not answer'
    answer = node.get('/healthz')
    assert (answer.status_code, answer.text) == (
        503,
        'the catalog does not answer\n',
    )


@pytest.mark.parametrize('accept', ['', 'application/openmetrics-text'])
def test_metrics_show_what_was_asked(node: Node, accept: str) -> None:
    node.get(data(), Range='bytes=0-9')
    answer = node.get('/metrics', Accept=accept)
    assert answer.status_code == 200
    assert 'tmpl_api_sent_bytes_total 10.0' in answer.text
    assert (
        node.value(
            'tmpl_api_requests_total',
            code='206',
            endpoint='/v1/templates/<digest>/data',
        )
        == 1
    )


def test_paths_of_clients_do_not_become_metrics(node: Node) -> None:
    for number in range(3):
        assert node.get(f'/nothing/{number}').status_code == 404
    assert node.value('tmpl_api_requests_total', code='404', endpoint='') == 3
