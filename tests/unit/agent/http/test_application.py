# SPDX-License-Identifier: Apache-2.0
"""The agent's API as a WSGI application; its listener: functional tests."""

import contextlib
import dataclasses
import json
import os
import pathlib

import prometheus_client
import pytest
import werkzeug.test

from tmpl_glance_store import exceptions
from tmpl_glance_store import tls
from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent import status as agent_status
from tmpl_glance_store.agent.http import application as api
from tmpl_glance_store.agent.http import listener

DIGEST = 'ab' * 32
EMPTY = 'cd' * 32
STATUS = agent_status.Status(
    'n1', '1', transfers=(agent_status.Transfer(DIGEST, 'here', 5),)
)
CONTENT = bytes(range(256)) * 4096  # 1 MiB: more than a chunk
SIZE = len(CONTENT)


@dataclasses.dataclass
class Node:
    """A node with two templates, and what its collaborators answer."""

    directory: pathlib.Path
    status: agent_status.Status | Exception = STATUS
    health: tuple[bool, str] = (True, 'all is well')

    def __post_init__(self) -> None:
        for digest, content in (DIGEST, CONTENT), (EMPTY, b''):
            (self.directory / digest).mkdir()
            (self.directory / digest / 'image').write_bytes(content)
            (self.directory / digest / 'pieces').write_bytes(b'layer')
        self.registry = prometheus_client.CollectorRegistry()
        self.application = api.Application(
            find_copy=self.find_copy,
            status=self.show_status,
            healthy=lambda: self.health,
            registry=self.registry,
            metrics=api_metrics.ApiMetrics(self.registry),
            streams=2,
        )
        self.client = werkzeug.test.Client(self.application)

    def find_copy(self, digest: str) -> str | None:
        """Take any name, to see that hostile ones do not come this far."""
        path = os.path.join(self.directory, digest)
        return path if os.path.exists(path) else None

    def show_status(self) -> agent_status.Status:
        """Show the status, or raise it."""
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    def get(self, path: str, **headers: str) -> werkzeug.test.TestResponse:
        """Return the answer to a GET."""
        return self.client.get(
            path,
            buffered=True,
            headers={
                name.replace('_', '-'): value
                for name, value in headers.items()
            },
        )

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of a metric."""
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def node(tmp_path: pathlib.Path) -> Node:
    return Node(tmp_path)


def data(digest: str = DIGEST) -> str:
    return f'/v1/templates/{digest}/data'


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
        for _ in range(2):
            answer = node.client.get(data(), buffered=False)
            open_reads.callback(answer.close)
            assert answer.status_code == 200
        assert node.value('tmpl_api_streams') == 2
        assert node.get(data()).status_code == 503
        assert node.get('/healthz').status_code == 200
    assert node.value('tmpl_api_streams') == 0
    assert node.get(data()).status_code == 200


def test_a_refused_range_takes_no_place(node: Node) -> None:
    for _ in range(5):
        assert node.get(data(), Range='bytes=5-2').status_code == 416
    assert node.value('tmpl_api_streams') == 0


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


def make_api(node: Node, host: str) -> listener.Listener:
    return listener.Listener(
        node.application,
        host=host,
        port=0,
        context=None,
        metrics=api_metrics.ApiMetrics(prometheus_client.CollectorRegistry()),
    )


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.0.2.1', '2001:db8::1'])
def test_without_tls_only_loopback_is_listened_on(
    node: Node, host: str
) -> None:
    with pytest.raises(exceptions.BadConfiguration) as refusal:
        make_api(node, host)
    for option in tls.OPTIONS:
        assert option in str(refusal.value)


@pytest.mark.parametrize('host', ['127.0.0.1', '127.0.0.3', '::1'])
def test_loopback_needs_no_tls(node: Node, host: str) -> None:
    assert make_api(node, host).address[0] == host


def test_a_host_that_is_none_is_refused(node: Node) -> None:
    with pytest.raises(exceptions.BadConfiguration, match='bad host'):
        make_api(node, 'bad host')


def test_tls_needs_all_its_files() -> None:
    assert tls.Files.read(None, '', None) is None
    assert tls.Files.read('a', 'b', 'c') == tls.Files('a', 'b', 'c')
    with pytest.raises(
        exceptions.BadConfiguration, match=r'^tmpl_store_tls_key: not set'
    ):
        tls.Files.read('a', 'b', None)


def test_tls_files_that_cannot_be_used_are_named(
    tmp_path: pathlib.Path,
) -> None:
    files = tls.Files(*(str(tmp_path / name) for name in 'abc'))
    for make in tls.server, tls.client:
        with pytest.raises(
            exceptions.BadConfiguration, match='tmpl_store_tls_ca'
        ):
            make(files)
