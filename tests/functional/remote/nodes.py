# SPDX-License-Identifier: Apache-2.0
"""Nodes with a real API each, and what they store."""

import contextlib
import dataclasses
import http.client
import os
import pathlib
import random
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import prometheus_client

from tmpl_glance_store import layout
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls
from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent import status as agent_status
from tmpl_glance_store.agent.http import application as api
from tmpl_glance_store.agent.http import listener
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

    def ask_with(self, files: tls.Files, path: str) -> int:
        """Return the status of the answer to a GET of who has *files*."""
        client = http.client.HTTPSConnection(
            *self.api.address, timeout=LONG, context=tls.client(files).get()
        )
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
    root_hash, layer = tree.finish()
    stored = Stored(
        root,
        objects.Template(
            digest=merkle.identify(size, root_hash),
            root=root_hash.hex(),
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


def is_cut(sock: socket.socket) -> bool:
    """Wait until the other side ends the connection."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


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
