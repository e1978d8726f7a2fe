# SPDX-License-Identifier: Apache-2.0
"""Remote reads against holders that live in memory."""

import contextlib
import random
from typing import Any

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from tests import facts
from tests.fakes import remote as fake
from tmpl_glance_store import exceptions
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store.remote import contract
from tmpl_glance_store.remote import file
from tmpl_glance_store.remote import templates

PIECE = 32 << 10  # smaller than real ones, but of two leaves
CONTENT = random.Random(3).randbytes(6 * PIECE + 1234)
SIZE = len(CONTENT)


def pieces_of(content: bytes) -> list[bytes]:
    return [content[at : at + PIECE] for at in range(0, len(content), PIECE)]


def layer_of(content: bytes) -> list[bytes]:
    return [
        merkle.piece_hash(piece, len(content), PIECE)
        for piece in pieces_of(content)
    ]


def template_of(content: bytes) -> objects.Template:
    """Return the facts of *content*, with its small pieces."""
    root = merkle.layer_root(layer_of(content), PIECE)
    return facts.template(
        size=len(content),
        root=root.hex(),
        digest=merkle.identify(len(content), root),
        piece_size=PIECE,
    )


TEMPLATE = template_of(CONTENT)


def holder_of(
    content: bytes = CONTENT, layer: bytes | None = None, **faults: Any
) -> fake.Holder:
    """Return a holder of small pieces."""
    if layer is None:
        layer = b''.join(layer_of(CONTENT))
    return fake.Holder(content, layer, PIECE, **faults)


class Cluster:
    """Holders by name, one reader, and the lies that it noticed."""

    def __init__(self, **holders: fake.Holder) -> None:
        self.holders = holders
        self.lies: list[tuple[str, str, int | None]] = []
        self.now = 0.0
        self.remote = templates.RemoteTemplates(
            connect=lambda url: fake.Connection(holders[url]),
            on_lie=lambda *lie: self.lies.append(lie),
            clock=lambda: self.now,
        )

    def open(
        self,
        offset: int = 0,
        length: int | None = None,
        *,
        chunk_size: int = templates.MAX_CHUNK,
        template: objects.Template = TEMPLATE,
    ) -> file.RemoteFile:
        return self.remote.open(
            template, list(self.holders), offset, length, chunk_size
        )

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Return what a read gives; no connection is left after it."""
        data = b''.join(self.open(offset, length))
        assert not any(each.connections for each in self.holders.values())
        return data


@pytest.mark.parametrize(
    'size', [0, 1, merkle.BLOCK, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, SIZE]
)
def test_a_whole_read_gives_the_content(size: int) -> None:
    content = CONTENT[:size]
    cluster = Cluster(a=holder_of(content, b''.join(layer_of(content))))
    assert b''.join(cluster.open(template=template_of(content))) == content


@settings(max_examples=300)
@given(
    offset=strategies.integers(0, SIZE + PIECE),
    length=strategies.none() | strategies.integers(0, SIZE + PIECE),
    chunk_size=strategies.integers(1000, 2 * PIECE),
)
@example(0, None, PIECE)
@example(PIECE, PIECE, PIECE)
@example(PIECE - 1, 2, 1000)
@example(SIZE - 1, 1, PIECE)
@example(SIZE, 1, PIECE)
@example(0, 0, PIECE)
def test_a_range_gives_its_bytes_and_fetches_only_its_pieces(
    offset: int, length: int | None, chunk_size: int
) -> None:
    holder = holder_of()
    chunks = list(
        Cluster(a=holder).open(offset, length, chunk_size=chunk_size)
    )
    end = SIZE if length is None else min(offset + length, SIZE)
    assert b''.join(chunks) == CONTENT[offset:end]
    assert all(0 < len(chunk) <= chunk_size for chunk in chunks)
    if offset >= end:
        assert holder.asked == []
        return
    first, last = offset // PIECE, (end - 1) // PIECE
    assert holder.asked == [(first * PIECE, min((last + 1) * PIECE, SIZE))]
    assert holder.sent == holder.asked[0][1] - holder.asked[0][0]


def test_chunks_are_bounded_whatever_is_asked_for() -> None:
    content = bytes(2 * templates.MAX_CHUNK)
    size = len(content)
    root = merkle.piece_hash(content, size, size)
    template = facts.template(
        size=size,
        root=root.hex(),
        digest=merkle.identify(size, root),
        piece_size=size,
    )
    cluster = Cluster(a=holder_of(content))
    assert [
        len(chunk)
        for chunk in cluster.open(template=template, chunk_size=1 << 30)
    ] == [templates.MAX_CHUNK] * 2


def test_the_first_piece_is_there_when_open_returns() -> None:
    holder = holder_of()
    with contextlib.closing(Cluster(a=holder).open()):
        assert holder.sent == PIECE


def test_no_more_than_a_piece_is_fetched_ahead() -> None:
    holder = holder_of()
    with contextlib.closing(
        Cluster(a=holder).open(chunk_size=PIECE // 4)
    ) as file:
        chunks = iter(file)
        for _ in range(4):
            next(chunks)
        assert holder.sent == PIECE
        next(chunks)
        assert holder.sent == 2 * PIECE


def test_an_empty_template_needs_no_holder() -> None:
    assert list(Cluster().open(template=template_of(b''))) == []


def test_a_template_of_one_piece_needs_no_layer() -> None:
    holder = holder_of(CONTENT[:PIECE])
    template = template_of(CONTENT[:PIECE])
    assert b''.join(Cluster(a=holder).open(template=template))
    assert holder.layers_asked == 0


def test_the_layer_is_fetched_once() -> None:
    cluster = Cluster(a=holder_of())
    for _ in range(3):
        assert cluster.read(5, 5) == CONTENT[5:10]
    assert cluster.holders['a'].layers_asked == 1


def test_the_layers_kept_are_bounded() -> None:
    contents = [CONTENT[number : number + 2 * PIECE] for number in range(40)]
    cluster = Cluster(a=holder_of())
    holder = cluster.holders['a']
    for content in [*contents, contents[0]]:
        holder.content, holder.layer = content, b''.join(layer_of(content))
        assert b''.join(cluster.open(template=template_of(content))) == content
    assert holder.layers_asked == len(contents) + 1


@pytest.mark.parametrize(
    ('fault', 'piece'),
    [
        ({'down': True}, 0),
        ({'dies_at': 0}, 0),
        ({'dies_at': 3}, 3),
        ({'dies_at': 6}, 6),
        ({'flipped': (0,)}, 0),
        ({'flipped': (3,)}, 3),
        ({'flipped': (6,)}, 6),
        ({'layer': b''}, 0),
        ({'layer': bytes(7 * 32)}, 0),
        ({'layer': b''.join(layer_of(CONTENT[::-1]))}, 0),
        ({'layer': b''.join(layer_of(CONTENT)) + bytes(32)}, 0),
    ],
)
def test_the_next_holder_goes_on_where_one_fails(
    fault: dict[str, Any], piece: int
) -> None:
    cluster = Cluster(a=holder_of(**fault), b=holder_of())
    assert cluster.read() == CONTENT
    assert cluster.holders['b'].asked == [(piece * PIECE, SIZE)]


def test_a_layer_with_the_filler_of_the_tree_is_refused() -> None:
    filler = merkle.root([bytes(32)] * (PIECE // merkle.BLOCK))
    layer = b''.join(layer_of(CONTENT)) + filler
    assert (
        merkle.layer_root(merkle.split_layer(layer), PIECE).hex()
        == TEMPLATE.root
    )
    cluster = Cluster(a=holder_of(layer=layer), b=holder_of())
    assert cluster.read() == CONTENT
    assert cluster.lies == [('a', TEMPLATE.digest, None)]


def test_no_byte_of_a_bad_piece_is_given() -> None:
    cluster = Cluster(a=holder_of(flipped=(2,)))
    given = []
    with pytest.raises(exceptions.Unavailable):
        given.extend(cluster.open(chunk_size=1000))
    assert b''.join(given) == CONTENT[: 2 * PIECE]


def test_pieces_that_each_holder_lacks_come_from_the_other() -> None:
    cluster = Cluster(a=holder_of(flipped=(0, 3)), b=holder_of(flipped=(1, 4)))
    assert cluster.read() == CONTENT


def test_a_holder_that_broke_off_is_asked_again() -> None:
    class Impatient(fake.Connection):
        """Gives two pieces only."""

        def read_into(self, buffer: memoryview) -> None:
            if self.at - self.holder.asked[-1][0] >= 2 * PIECE:
                raise contract.HolderFailed('had enough')
            super().read_into(buffer)

    holder = holder_of()
    remote = templates.RemoteTemplates(connect=lambda url: Impatient(holder))
    assert b''.join(remote.open(TEMPLATE, ['a'])) == CONTENT
    assert [start // PIECE for start, _ in holder.asked] == [0, 2, 4, 6]


def test_a_holder_that_came_back_is_asked_again() -> None:
    cluster = Cluster(a=holder_of(down=True), b=holder_of(dies_at=4))
    chunks = iter(cluster.open(chunk_size=PIECE))
    given = [next(chunks)]
    cluster.holders['a'].down = False
    assert b''.join([*given, *chunks]) == CONTENT


def test_when_all_fail_the_reason_of_each_is_told() -> None:
    cluster = Cluster(
        a=holder_of(down=True),
        b=holder_of(dies_at=0),
        c=holder_of(flipped=(0,)),
    )
    with pytest.raises(exceptions.Unavailable) as failure:
        cluster.open()
    assert 'a: is down; b: died; c: gave a bad piece 0' in str(failure.value)
    assert TEMPLATE.digest in str(failure.value)
    assert not any(each.connections for each in cluster.holders.values())


def test_without_holders_a_template_is_unavailable() -> None:
    with pytest.raises(exceptions.Unavailable, match='none is known'):
        Cluster().open()


def test_all_may_fail_in_the_middle() -> None:
    cluster = Cluster(a=holder_of(dies_at=2), b=holder_of(dies_at=2))
    given = []
    with pytest.raises(exceptions.Unavailable, match='piece 2 '):
        given.extend(cluster.open(chunk_size=PIECE))
    assert b''.join(given) == CONTENT[: 2 * PIECE]
    assert not any(each.connections for each in cluster.holders.values())


def test_a_liar_is_reported_and_asked_last_for_a_while() -> None:
    cluster = Cluster(a=holder_of(flipped=(1,)), b=holder_of())
    assert cluster.read() == CONTENT
    assert cluster.lies == [('a', TEMPLATE.digest, 1)]
    cluster.holders['a'].asked.clear()
    assert cluster.read() == CONTENT
    assert cluster.holders['a'].asked == []
    cluster.holders['b'].down = True
    assert cluster.read(0, PIECE) == CONTENT[:PIECE]
    cluster.holders['b'].down = False
    cluster.now += 3600
    cluster.holders['a'].asked.clear()
    assert cluster.read() == CONTENT
    assert cluster.holders['a'].asked != []


def test_a_closed_file_gives_nothing_and_holds_no_connection() -> None:
    cluster = Cluster(a=holder_of())
    file = cluster.open(chunk_size=PIECE)
    chunks = iter(file)
    next(chunks)
    file.close()
    file.close()
    assert list(chunks) == []
    assert cluster.holders['a'].connections == 0


def test_a_file_that_is_forgotten_is_closed() -> None:
    cluster = Cluster(a=holder_of())
    file = cluster.open()
    assert cluster.holders['a'].connections == 1
    del file
    assert cluster.holders['a'].connections == 0


@pytest.mark.parametrize(
    ('url', 'reason'),
    [
        ('http://192.0.2.1:80', 'needs mutual TLS: set tmpl_store_tls_ca'),
        ('https://127.0.0.1:80', 'needs mutual TLS'),
        ('http://example.org:80', 'needs mutual TLS'),
        ('http://127.0.0.1', 'has no address'),
        ('http://127.0.0.1:99999', 'ValueError'),
        ('http://[::1', 'ValueError'),
        ('nonsense', 'has no address'),
    ],
)
def test_a_url_that_is_not_safe_is_not_called(url: str, reason: str) -> None:
    with pytest.raises(exceptions.Unavailable, match=reason):
        templates.RemoteTemplates().open(TEMPLATE, [url])


def test_an_agent_tells_its_status_and_one_that_is_down_why_not() -> None:
    cluster = Cluster(a=holder_of(), b=holder_of(down=True))
    assert cluster.remote.status('a') == {'copies': []}
    with pytest.raises(exceptions.Unavailable, match='b is down'):
        cluster.remote.status('b')
    assert not any(each.connections for each in cluster.holders.values())
