# SPDX-License-Identifier: Apache-2.0
"""The next holder goes on where one fails: real SIGKILL, real bit rot."""

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.functional.remote.nodes import LARGE
from tests.functional.remote.nodes import LONG
from tests.functional.remote.nodes import PIECE
from tests.functional.remote.nodes import SIZE
from tests.functional.remote.nodes import Node
from tests.functional.remote.nodes import Stored
from tests.functional.remote.nodes import free_port
from tests.functional.remote.nodes import read
from tmpl_glance_store import exceptions
from tmpl_glance_store.remote import templates


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
