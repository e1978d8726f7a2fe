# SPDX-License-Identifier: Apache-2.0
"""Reading from other nodes: real listeners, real TLS, real SIGKILL.

Each node has a loopback address of its own. Time-outs are short only where a
test waits for them; where they must not strike, they are long.
"""

import contextlib
import dataclasses
import http.client
import itertools
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import random
import shutil
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Self

import cheroot.server
import prometheus_client
import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from harness import certificates
from tmpl_glance_store import exceptions
from tmpl_glance_store import layout
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls
from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent import status as agent_status
from tmpl_glance_store.agent.http import application as api
from tmpl_glance_store.agent.http import listener
from tmpl_glance_store.agent.http import server
from tmpl_glance_store.remote import http as remote_http
from tmpl_glance_store.remote import templates

MIB = 1 << 20
PIECE = merkle.MIN_PIECE
SIZE = 5 * MIB + 12345
# More than all buffers of the kernel between two processes hold.
LARGE = 64 * MIB

#: Seconds that are enough on the slowest machine.
LONG = 60


class Node:
    """A node with an API of its own, in this process.

    :param root: its location; ``find`` sees what lies there at the time
    :param files: for mutual TLS
    :param streams: see :class:`api.Application`
    """

    def __init__(
        self,
        root: pathlib.Path,
        host: str = '127.0.0.1',
        *,
        files: tls.Files | None = None,
        streams: int = 60,
        **options: Any,
    ) -> None:
        self.where = layout.Paths(str(root))
        self.host, self._files = host, files
        self.registry = prometheus_client.CollectorRegistry()
        metrics = api_metrics.ApiMetrics(self.registry)
        application = api.Application(
            find_copy=self.find_copy,
            status=lambda: agent_status.Status('n1', '1'),
            healthy=lambda: (True, 'ok'),
            registry=self.registry,
            metrics=metrics,
            streams=streams,
        )
        self.api = listener.Listener(
            application,
            host=host,
            port=0,
            metrics=metrics,
            context=tls.server(files) if files else None,
            **options,
        )

    def __enter__(self) -> Self:
        self.api.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.api.stop()

    @property
    def url(self) -> str:
        """What stands in the catalog."""
        scheme = 'https' if self._files else 'http'
        return f'{scheme}://{self.host}:{self.api.address[1]}'

    def find_copy(self, digest: str) -> str | None:
        """Return the directory of a copy, as the local store does."""
        return (
            self.where.copy(digest)
            if os.path.isfile(self.where.image(digest))
            else None
        )

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a metric."""
        return self.registry.get_sample_value(f'tmpl_api_{name}', labels) or 0

    def connect(self) -> socket.socket:
        """Return a plain connection."""
        return socket.create_connection(self.api.address, LONG)

    def ask(self, path: str = '/healthz') -> int:
        """Return the status of the answer to a plain GET."""
        client = http.client.HTTPConnection(*self.api.address, LONG)
        with contextlib.closing(client):
            return status(client, path)


def status(client: http.client.HTTPConnection, path: str) -> int:
    """Return the status of the answer to a GET."""
    client.request('GET', path)
    return client.getresponse().status


@dataclasses.dataclass
class Stored:
    """A template in a location, and its bytes."""

    root: pathlib.Path
    template: objects.Template
    content: bytes

    @property
    def directory(self) -> pathlib.Path:
        """The directory of the copy."""
        return pathlib.Path(
            layout.Paths(str(self.root)).copy(self.template.digest)
        )

    @property
    def path(self) -> str:
        """The path of its bytes in the API."""
        return f'/v1/templates/{self.template.digest}/data'

    def copy(self, root: pathlib.Path) -> 'Stored':
        """Return a copy of it in another location."""
        shutil.copytree(self.root, root)
        return dataclasses.replace(self, root=root)


def store(root: pathlib.Path, size: int) -> Stored:
    """Lay a template of *size* random bytes into a new location."""
    content = random.Random(size).randbytes(size)
    tree = merkle.TreeHasher()
    tree.update(content)
    digest, layer = tree.finish()
    stored = Stored(
        root,
        objects.Template(
            digest=digest.hex(),
            size=size,
            position=0,
            checksum='',
            hashing_algo='sha512',
            multihash='',
            piece_size=tree.piece,
            created_at=0,
        ),
        content,
    )
    stored.directory.mkdir(parents=True)
    (stored.directory / 'image').write_bytes(content)
    (stored.directory / 'pieces').write_bytes(b''.join(layer))
    return stored


@pytest.fixture(scope='module', autouse=True)
def _quick_stop() -> Iterator[None]:
    """Make cheroot look up from its selector more often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cheroot.server.HTTPServer, 'expiration_interval', 0.02)
        yield


@pytest.fixture(scope='module')
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return store(tmp_path_factory.mktemp('stored') / 'location', SIZE)


@pytest.fixture(scope='module')
def large(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return store(tmp_path_factory.mktemp('large') / 'location', LARGE)


@pytest.fixture(scope='module')
def node(stored: Stored) -> Iterator[Node]:
    with Node(stored.root) as running:
        yield running


@pytest.fixture(scope='module')
def authority(
    tmp_path_factory: pytest.TempPathFactory,
) -> certificates.Authority:
    return certificates.Authority(tmp_path_factory.mktemp('ca'))


@pytest.fixture(scope='module')
def foreigner(tmp_path_factory: pytest.TempPathFactory) -> tls.Files:
    """A certificate that another CA gave for every address used here."""
    foreign = certificates.Authority(tmp_path_factory.mktemp('ca'), 'foreign')
    return foreign.node('node1', '127.0.0.1', '127.0.0.2')


@pytest.fixture(scope='module')
def files(authority: certificates.Authority) -> tls.Files:
    return authority.node('node1', '127.0.0.1', '127.0.0.2', 'localhost')


@pytest.fixture(scope='module')
def secure_node(stored: Stored, files: tls.Files) -> Iterator[Node]:
    with Node(stored.root, files=files) as running:
        yield running


def read(
    stored: Stored,
    *holders: str,
    offset: int = 0,
    length: int | None = None,
    **options: Any,
) -> bytes:
    """Return what a read gives."""
    options.setdefault('timeout', LONG)
    return b''.join(
        templates.RemoteTemplates(**options).open(
            stored.template, holders, offset, length
        )
    )


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds, for a long time if need be."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as listener:
        return listener.getsockname()[1]


# Reads


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


# Failover


def test_a_holder_that_refuses_connections_is_replaced(
    stored: Stored, node: Node
) -> None:
    assert (
        read(stored, f'http://127.0.0.1:{free_port()}', node.url)
        == stored.content
    )


def test_a_holder_without_the_copy_is_replaced(
    tmp_path: pathlib.Path, stored: Stored, node: Node
) -> None:
    with Node(tmp_path, '127.0.0.2') as other:
        assert read(stored, other.url, node.url) == stored.content


def test_a_holder_with_too_many_readers_is_replaced(
    stored: Stored, node: Node
) -> None:
    with Node(stored.root, '127.0.0.2', streams=0) as busy:
        assert read(stored, busy.url, node.url) == stored.content


def _serve(
    root: pathlib.Path, pipe: multiprocessing.connection.Connection
) -> None:
    """Be a node in a process of its own, until it is killed."""
    with Node(root) as node:
        pipe.send(node.url)
        threading.Event().wait()


@contextlib.contextmanager
def node_process(root: pathlib.Path) -> Iterator[tuple[Any, str]]:
    """Run a node in a process; give the process and the URL."""
    spawn = multiprocessing.get_context('spawn')
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(root, theirs), daemon=True)
    process.start()
    try:
        assert ours.poll(LONG)
        yield process, ours.recv()
    finally:
        process.kill()
        process.join()


def test_sigkill_of_a_holder_in_the_middle_of_a_read(large: Stored) -> None:
    with (
        node_process(large.root) as (process, url),
        Node(large.root, '127.0.0.2') as other,
    ):
        file = templates.RemoteTemplates(timeout=LONG).open(
            large.template, [url, other.url]
        )
        chunks = iter(file)
        begin = list(itertools.islice(chunks, 3))
        assert other.value('sent_bytes_total') == 0
        process.kill()
        assert b''.join([*begin, *chunks]) == large.content
        assert 0 < other.value('sent_bytes_total') < LARGE


def test_sigkill_of_the_only_holder_is_not_an_end(large: Stored) -> None:
    with node_process(large.root) as (process, url):
        file = templates.RemoteTemplates(timeout=LONG).open(
            large.template, [url]
        )
        process.kill()
        given = []
        with pytest.raises(exceptions.Unavailable, match=url):
            given.extend(file)
    data = b''.join(given)
    assert data == large.content[: len(data)]
    assert len(data) < LARGE


@pytest.mark.parametrize('piece', [0, 7, SIZE // PIECE])
def test_bits_flipped_at_rest_are_noticed(
    tmp_path: pathlib.Path, stored: Stored, node: Node, piece: int
) -> None:
    bad = stored.copy(tmp_path / 'bad')
    with open(bad.directory / 'image', 'r+b') as image:
        image.seek(piece * PIECE + 100)
        image.write(bytes([stored.content[piece * PIECE + 100] ^ 1]))
    lies = []
    with Node(bad.root, '127.0.0.2') as liar:
        sent = node.value('sent_bytes_total')
        assert (
            read(
                stored,
                liar.url,
                node.url,
                on_lie=lambda *lie: lies.append(lie),
            )
            == stored.content
        )
        assert lies == [(liar.url, stored.template.digest, piece)]
        assert node.value('sent_bytes_total') - sent == SIZE - piece * PIECE
        with pytest.raises(
            exceptions.Unavailable, match=f'gave a bad piece {piece}'
        ):
            read(stored, liar.url)


@pytest.mark.parametrize(
    'change',
    [
        lambda layer: layer[:-1],
        lambda layer: layer + bytes(32),
        lambda layer: b'',
        lambda layer: bytes(len(layer)),
    ],
)
def test_a_bad_piece_layer_is_noticed(
    tmp_path: pathlib.Path,
    stored: Stored,
    node: Node,
    change: Callable[[bytes], bytes],
) -> None:
    bad = stored.copy(tmp_path / 'bad')
    layer = (bad.directory / 'pieces').read_bytes()
    (bad.directory / 'pieces').write_bytes(change(layer))
    lies = []
    with Node(bad.root, '127.0.0.2') as liar:
        assert (
            read(
                stored,
                liar.url,
                node.url,
                on_lie=lambda *lie: lies.append(lie),
            )
            == stored.content
        )
        assert lies == [(liar.url, stored.template.digest, None)]


@pytest.mark.parametrize('size', [0, PIECE, SIZE - 1, SIZE + 1])
def test_a_copy_of_another_size_is_noticed(
    tmp_path: pathlib.Path, stored: Stored, node: Node, size: int
) -> None:
    bad = stored.copy(tmp_path / 'bad')
    os.truncate(bad.directory / 'image', size)
    with Node(bad.root, '127.0.0.2') as other:
        assert read(stored, other.url, node.url) == stored.content


class Impostor:
    """Something at a holder's address that is no agent.

    :param answer: is given the connection, once there is a request
    """

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(('127.0.0.2', 0))
        self.url = f'http://127.0.0.2:{self._listener.getsockname()[1]}'
        self.asked = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread in accept() would not notice that it is closed.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, contextlib.suppress(OSError):
                    client.recv(4096)
                    self.asked += 1
                    self._answer(client)


_HEAD = (
    f'HTTP/1.1 206 Partial Content\r\n'
    f'Content-Length: {PIECE}\r\n'
    f'Content-Range: bytes 0-{PIECE - 1}/{PIECE}\r\n\r\n'
).encode()


def _wait_for_the_end(client: socket.socket) -> None:
    while client.recv(4096):
        pass


def _stall_at_once(client: socket.socket) -> None:
    _wait_for_the_end(client)


def _stall_in_the_middle(client: socket.socket) -> None:
    client.sendall(_HEAD + bytes(PIECE // 2))
    _wait_for_the_end(client)


def _drip(client: socket.socket) -> None:
    client.sendall(_HEAD)
    while True:
        client.sendall(b'x')
        time.sleep(0.01)


def _drip_headers(client: socket.socket) -> None:
    client.sendall(b'HTTP/1.1 206 Partial Content\r\n')
    while True:
        client.sendall(b'X')
        time.sleep(0.01)


def _continue_for_ever(client: socket.socket) -> None:
    while True:
        client.sendall(b'HTTP/1.1 100 Continue\r\n\r\n')


def _end_early(client: socket.socket) -> None:
    client.sendall(_HEAD + bytes(PIECE // 2))


def _end_at_once(client: socket.socket) -> None:
    pass


def _fail(client: socket.socket) -> None:
    client.sendall(b'HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n')


def _redirect(client: socket.socket) -> None:
    client.sendall(
        b'HTTP/1.1 302 There\r\nLocation: http://127.0.0.1/\r\n'
        b'Content-Length: 0\r\n\r\n'
    )


def _ignore_the_range(client: socket.socket) -> None:
    client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')


def _be_endless(client: socket.socket) -> None:
    client.sendall(
        _HEAD.replace(b'Content-Length', b'X-Length').replace(
            b'\r\n\r\n', b'\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n'
        )
        + bytes(65536)
    )
    _wait_for_the_end(client)


def _speak_another_language(client: socket.socket) -> None:
    client.sendall(b'220 smtp.example.org ESMTP' + b'!' * 100000 + b'\r\n')


def _send_many_headers(client: socket.socket) -> None:
    client.sendall(b'HTTP/1.1 206 Partial Content\r\n')
    while True:
        client.sendall(b'X-Header: value\r\n' * 100)


@pytest.mark.parametrize(
    'answer',
    [
        _stall_at_once,
        _stall_in_the_middle,
        _drip,
        _drip_headers,
        _continue_for_ever,
        _end_early,
        _end_at_once,
        _fail,
        _redirect,
        _ignore_the_range,
        _be_endless,
        _speak_another_language,
        _send_many_headers,
    ],
)
def test_whatever_a_holder_does_the_next_one_gives_the_bytes(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[socket.socket], None],
) -> None:
    # A template of one piece: the first request is that for its bytes.
    stored = store(tmp_path / 'location', PIECE)
    monkeypatch.setattr(remote_http, '_MIN_RATE', MIB)
    with Impostor(answer) as impostor, Node(stored.root) as node:
        file = templates.RemoteTemplates(timeout=2).open(
            stored.template, [impostor.url, node.url]
        )
        assert b''.join(file) == stored.content
        assert impostor.asked == 1


def test_when_all_holders_fail_the_reason_of_each_is_told(
    tmp_path: pathlib.Path, stored: Stored
) -> None:
    gone = f'http://127.0.0.1:{free_port()}'
    with Node(tmp_path) as node, Impostor(_fail) as impostor:
        with pytest.raises(exceptions.Unavailable) as failure:
            read(stored, gone, node.url, impostor.url)
        for url, reason in (
            (gone, 'ConnectionRefusedError'),
            (node.url, 'answered 404'),
            (impostor.url, 'answered 500'),
        ):
            assert f'{url}: {reason}' in str(failure.value)


# Mutual TLS


def test_with_tls_a_read_gives_the_content(
    stored: Stored, secure_node: Node, files: tls.Files
) -> None:
    sent = secure_node.value('sent_bytes_total')
    assert (
        read(stored, secure_node.url, context=tls.client(files))
        == stored.content
    )
    assert secure_node.value('sent_bytes_total') - sent == SIZE


def test_with_tls_the_next_holder_goes_on_where_one_fails(
    large: Stored, files: tls.Files
) -> None:
    with (
        Node(large.root, files=files) as first,
        Node(large.root, '127.0.0.2', files=files) as second,
    ):
        chunks = iter(
            templates.RemoteTemplates(
                context=tls.client(files), timeout=LONG
            ).open(large.template, [first.url, second.url])
        )
        begin = next(chunks)
        first.api.stop(grace=0)
        assert b''.join([begin, *chunks]) == large.content
        assert 0 < second.value('sent_bytes_total') < LARGE


def test_names_work_as_addresses_do(
    stored: Stored, secure_node: Node, files: tls.Files
) -> None:
    port = secure_node.api.address[1]
    assert (
        read(stored, f'https://localhost:{port}', context=tls.client(files))
        == stored.content
    )


def refusals(node: Node) -> float:
    return node.value('refused_total', reason='handshake')


def test_a_client_of_another_ca_is_refused(
    stored: Stored, secure_node: Node, files: tls.Files, foreigner: tls.Files
) -> None:
    before = refusals(secure_node)
    client = tls.client(dataclasses.replace(foreigner, ca=files.ca))
    with pytest.raises(exceptions.Unavailable):
        read(stored, secure_node.url, context=client)
    wait_until(lambda: refusals(secure_node) == before + 1)


def test_a_client_without_a_certificate_is_refused(
    stored: Stored, secure_node: Node, files: tls.Files
) -> None:
    before = refusals(secure_node)
    client = http.client.HTTPSConnection(
        *secure_node.api.address,
        timeout=LONG,
        context=ssl.create_default_context(cafile=files.ca),
    )
    with (
        contextlib.closing(client),
        pytest.raises(OSError, match=r'(?i)alert|reset|closed|pipe|eof'),
    ):
        status(client, stored.path)
    wait_until(lambda: refusals(secure_node) == before + 1)


def test_a_client_without_tls_is_refused(secure_node: Node) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        secure_node.ask()


def test_an_old_tls_is_refused(secure_node: Node, files: tls.Files) -> None:
    context = tls.client(files).get()
    # The client is allowed to; only our server refuses.
    context.set_ciphers('ALL:@SECLEVEL=0')
    with warnings.catch_warnings(action='ignore'):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        secure_node.connect() as sock,
        pytest.raises(ssl.SSLError, match=r'(?i)protocol.version'),
    ):
        context.wrap_socket(sock, server_hostname='127.0.0.1')


def test_a_server_of_another_ca_is_refused(
    stored: Stored, secure_node: Node, files: tls.Files, foreigner: tls.Files
) -> None:
    mixed = dataclasses.replace(foreigner, ca=files.ca)
    with Node(stored.root, '127.0.0.2', files=mixed) as foreign:
        with pytest.raises(
            exceptions.Unavailable, match='CERTIFICATE_VERIFY_FAILED'
        ):
            read(stored, foreign.url, context=tls.client(files))
        assert (
            read(
                stored, foreign.url, secure_node.url, context=tls.client(files)
            )
            == stored.content
        )
        assert foreign.value('sent_bytes_total') == 0


def test_a_server_whose_certificate_has_expired_is_refused(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    expired = authority.node('expired', '127.0.0.1', days=-1)
    with (
        Node(stored.root, files=expired) as node,
        pytest.raises(exceptions.Unavailable, match='expired'),
    ):
        read(stored, node.url, context=tls.client(files))


def test_a_server_at_another_address_than_its_own_is_refused(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    other = authority.node('other', '127.0.0.9')
    with Node(stored.root, files=other) as node:
        with pytest.raises(exceptions.Unavailable, match='IP address'):
            read(stored, node.url, context=tls.client(files))
        lax = tls.client(files, verify_host=False)
        assert read(stored, node.url, context=lax) == stored.content


def test_with_tls_no_holder_without_is_called(
    stored: Stored, node: Node, files: tls.Files
) -> None:
    with pytest.raises(exceptions.Unavailable, match='does not use TLS'):
        read(stored, node.url, context=tls.client(files))


def test_a_renewed_certificate_is_used_without_a_restart(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    old = authority.node('renewed', '127.0.0.9')
    with Node(stored.root, files=old) as node:
        with pytest.raises(exceptions.Unavailable):
            read(stored, node.url, context=tls.client(files))
        assert authority.node('renewed', '127.0.0.1') == old
        assert (
            read(stored, node.url, context=tls.client(files)) == stored.content
        )


def test_a_certificate_without_its_key_changes_nothing(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    half = authority.node('half', '127.0.0.1')
    with Node(stored.root, files=half) as node:
        client = tls.client(half)
        shutil.copy(files.certificate, half.certificate)
        assert read(stored, node.url, context=client) == stored.content


# Hostile clients


def test_handshakes_that_do_not_end_harm_nobody(
    stored: Stored, files: tls.Files
) -> None:
    with (
        contextlib.ExitStack() as stack,
        Node(stored.root, files=files, threads=1, timeout=LONG) as node,
    ):
        for number in range(10):
            sock = stack.enter_context(node.connect())
            sock.sendall(b'\x16\x03\x01\x02\x00'[: number % 5])
        assert (
            read(stored, node.url, context=tls.client(files)) == stored.content
        )


def test_idle_connections_take_no_thread(stored: Stored) -> None:
    with (
        contextlib.ExitStack() as stack,
        Node(stored.root, threads=1, timeout=LONG) as node,
    ):
        for _ in range(10):
            stack.enter_context(node.connect())
        assert node.ask() == 200


def is_cut(sock: socket.socket) -> bool:
    """Wait until the other side ends the connection."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize('secure', [False, True])
def test_an_idle_connection_is_closed(
    stored: Stored, files: tls.Files, secure: bool
) -> None:
    with (
        Node(stored.root, files=files if secure else None, timeout=1) as node,
        node.connect() as sock,
    ):
        assert is_cut(sock)
        wait_until(lambda: node.value('connections') == 0)


def test_a_request_that_drips_in_is_cut(stored: Stored) -> None:
    with (
        Node(stored.root, threads=1, timeout=1) as node,
        node.connect() as sock,
    ):
        sock.sendall(b'GET / HTTP/1.1\r\nX: ')
        with pytest.raises(ConnectionError):
            while True:
                sock.sendall(b'x')
                time.sleep(0.05)
        wait_until(lambda: node.value('connections') == 0)
        assert node.value('refused_total', reason='slow') == 1
        assert node.ask() == 200


@pytest.mark.parametrize(
    'request_head',
    [
        b'GET /' + b'x' * 100000 + b' HTTP/1.1\r\n\r\n',
        b'GET / HTTP/1.1\r\n' + b'X: y\r\n' * 100000 + b'\r\n',
        b'GET / HTTP/1.1\r\nX: ' + b'x' * 100000 + b'\r\n\r\n',
        b'POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n',
        b'GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n',
        b'GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n',
        b'GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n',
        b'GET http://other/ HTTP/1.1\r\n\r\n',
        b'\r\n\r\n',
        b'\0' * 1000,
        b'GET\r\n\r\n',
        b'GET / HTTP/9.9\r\n\r\n',
        b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    ],
)
def test_a_request_that_is_none_ends_its_connection(
    stored: Stored, request_head: bytes
) -> None:
    with (
        Node(stored.root, threads=1, timeout=2, send_timeout=LONG) as node,
        node.connect() as sock,
    ):
        with contextlib.suppress(ConnectionError):
            sock.sendall(request_head)
        assert is_cut(sock)
        assert node.ask() == 200


def test_connections_are_bounded(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, '_CONNECTIONS', 8)
    with Node(stored.root, threads=1, timeout=LONG) as node:
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(node.connect())
            with node.connect() as sock:
                assert is_cut(sock)
            assert node.value('refused_total', reason='full') == 1
        wait_until(lambda: node.value('connections') == 0)
        assert node.ask() == 200


@contextlib.contextmanager
def slow_reader(
    node: Node, stored: Stored, files: tls.Files | None = None
) -> Iterator[socket.socket]:
    """A client that asks for a large template, and takes nothing of it."""
    with node.connect() as sock:
        if files is not None:
            sock = (
                tls.client(files)
                .get()
                .wrap_socket(sock, server_hostname=node.host)
            )
        with sock:
            sock.sendall(
                f'GET {stored.path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode()
            )
            wait_until(lambda: node.value('streams') == 1)
            yield sock


def test_a_slow_reader_does_not_hold_up_others(large: Stored) -> None:
    with Node(large.root, threads=2) as node, slow_reader(node, large):
        assert read(large, node.url) == large.content
        assert node.value('streams') == 1


@pytest.mark.parametrize('secure', [False, True])
def test_a_reader_that_takes_nothing_is_cut(
    large: Stored, files: tls.Files, secure: bool
) -> None:
    chosen = files if secure else None
    with (
        Node(large.root, files=chosen, send_timeout=1) as node,
        slow_reader(node, large, chosen),
    ):
        wait_until(lambda: node.value('streams') == 0)
        assert node.value('sent_bytes_total') < LARGE
        wait_until(lambda: node.value('connections') == 0)


@pytest.mark.parametrize('secure', [False, True])
def test_a_reader_that_goes_away_frees_its_thread(
    large: Stored, files: tls.Files, secure: bool
) -> None:
    chosen = files if secure else None
    with Node(large.root, files=chosen, threads=1, send_timeout=LONG) as node:
        with slow_reader(node, large, chosen):
            pass
        wait_until(lambda: node.value('connections') == 0)
        assert node.value('streams') == 0
        assert node.value('sent_bytes_total') < LARGE


def test_a_reader_that_was_cut_goes_on(large: Stored) -> None:
    with Node(large.root, send_timeout=1) as node:
        chunks = iter(
            templates.RemoteTemplates(timeout=LONG).open(
                large.template, [node.url]
            )
        )
        begin = next(chunks)
        wait_until(lambda: node.value('connections') == 0)
        assert b''.join([begin, *chunks]) == large.content


@pytest.mark.parametrize('secure', [False, True])
def test_stop_does_not_wait_for_clients(
    large: Stored, files: tls.Files, secure: bool
) -> None:
    chosen = files if secure else None
    node = Node(
        large.root, files=chosen, threads=2, timeout=LONG, send_timeout=LONG
    )
    with node, node.connect() as idle, node.connect() as dripping:
        dripping.sendall(b'GET / HTTP/1.1\r\n')
        with slow_reader(node, large, chosen) as sock:
            begin = time.monotonic()
            node.api.stop()
            assert time.monotonic() - begin < LONG / 6
            for each in idle, dripping, sock:
                assert is_cut(each)
    with pytest.raises(ConnectionError):
        node.connect()


def test_what_stopped_can_listen_there_again(stored: Stored) -> None:
    with Node(stored.root) as node:
        assert node.ask() == 200
        port = node.api.address[1]
    again = listener.Listener(
        lambda environ, respond: [],
        host='127.0.0.1',
        port=port,
        context=None,
        metrics=api_metrics.ApiMetrics(prometheus_client.CollectorRegistry()),
    )
    again.start()
    assert again.address == ('127.0.0.1', port)
    again.stop()


def test_an_address_in_use_is_refused(stored: Stored, node: Node) -> None:
    other = listener.Listener(
        lambda environ, respond: [],
        host='127.0.0.1',
        port=node.api.address[1],
        context=None,
        metrics=api_metrics.ApiMetrics(prometheus_client.CollectorRegistry()),
    )
    with pytest.raises(exceptions.BadConfiguration, match='cannot listen'):
        other.start()
    other.stop()
