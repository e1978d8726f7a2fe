# SPDX-License-Identifier: Apache-2.0
import functools
import hashlib
import itertools
import random
from collections.abc import Callable

import hypothesis
import libtorrent as lt
import pytest
from hypothesis import strategies as st

from tmpl_glance_store import merkle

KIB, MIB = 1 << 10, 1 << 20

# A small tree, so that hypothesis can afford many pieces and merges.
TINY = {'BLOCK': 16, 'MIN_PIECE': 64, 'MAX_PIECES': 4}


@pytest.fixture(scope='module')
def noise():
    return random.Random(2).randbytes(6 * MIB)


@pytest.fixture
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in TINY.items():
            patch.setattr(merkle, name, value)
        yield


def hashed(data, step=0):
    hasher = merkle.TreeHasher()
    for start in range(0, len(data), step or len(data) or 1):
        hasher.update(data[start : start + (step or len(data))])
    root, layer = hasher.finish()
    return hasher, root, layer


def by_libtorrent(directory, data, piece):
    """Return (pieces root, piece layer) as libtorrent computes them."""
    (directory / 'f').write_bytes(data)
    if hasattr(lt, 'create_file_entry'):
        files = [lt.create_file_entry('f', len(data))]
    else:  # before libtorrent 2.1
        files = lt.file_storage()
        files.add_file('f', len(data))
    torrent = lt.create_torrent(files, piece, lt.create_torrent.v2_only)
    lt.set_piece_hashes(torrent, str(directory))
    metainfo = torrent.generate()
    assert metainfo[b'info'][b'piece length'] == piece
    (file,) = metainfo[b'info'][b'file tree'].values()
    found = file[b''][b'pieces root']
    return found, metainfo.get(b'piece layers', {}).get(found, b'')


def by_the_book(data):
    """Return BEP 52's root of *data*, as simple as can be."""
    row = [
        hashlib.sha256(data[i : i + merkle.BLOCK]).digest()
        for i in range(0, len(data), merkle.BLOCK)
    ]
    while len(row) & (len(row) - 1):
        row.append(bytes(32))
    while len(row) > 1:
        row = [
            hashlib.sha256(a + b).digest()
            for a, b in zip(row[::2], row[1::2], strict=True)
        ]
    return row[0]


@pytest.mark.parametrize(
    'size',
    [
        1,
        16 * KIB - 1,
        16 * KIB,
        16 * KIB + 1,
        48 * KIB,
        256 * KIB - 1,
        256 * KIB,
        256 * KIB + 1,
        272 * KIB,
        512 * KIB,
        512 * KIB + 1,
        3 * 256 * KIB,
        5 * MIB,
        5 * MIB + 12345,
    ],
)
def test_root_and_pieces_are_libtorrents(tmp_path, noise, size):
    hasher, root, layer = hashed(noise[:size], 100_000)
    theirs, pieces = by_libtorrent(tmp_path, noise[:size], 256 * KIB)
    assert hasher.piece == merkle.piece_size(size) == 256 * KIB
    assert root == theirs
    # A file of one piece has no layer in the metainfo.
    assert b''.join(layer) == (pieces or theirs)


@pytest.mark.parametrize(
    ('size', 'piece'),
    [
        (MIB, 256 * KIB),
        (MIB + 1, 512 * KIB),
        (2 * MIB - 1, 512 * KIB),
        (2 * MIB, 512 * KIB),
        (2 * MIB + 1, MIB),
        (4 * MIB + 1, 2 * MIB),
        (5 * MIB + 12345, 2 * MIB),
    ],
)
def test_merged_pieces_are_libtorrents(
    monkeypatch, tmp_path, noise, size, piece
):
    monkeypatch.setattr(merkle, 'MAX_PIECES', 4)
    hasher, root, layer = hashed(noise[:size], 100_000)
    assert hasher.piece == merkle.piece_size(size) == piece
    assert (root, b''.join(layer)) == by_libtorrent(
        tmp_path, noise[:size], piece
    )


def test_zeros_are_hashed_as_data(tmp_path):
    data = bytes(MIB + 1)
    _, root, layer = hashed(data)
    assert (root, b''.join(layer)) == by_libtorrent(tmp_path, data, 256 * KIB)


@pytest.mark.parametrize(
    ('size', 'piece'),
    [
        (0, 256 * KIB),
        (1, 256 * KIB),
        (8192 * 256 * KIB, 256 * KIB),
        (8192 * 256 * KIB + 1, 512 * KIB),
        (1 << 40, 128 * MIB),
        ((1 << 40) + 1, 256 * MIB),
    ],
)
def test_the_piece_size_keeps_the_pieces_under_8193(size, piece):
    assert merkle.piece_size(size) == piece
    assert -(-size // piece) <= merkle.MAX_PIECES == 8192


def test_an_empty_file_has_no_piece_and_the_zero_root():
    hasher, root, layer = hashed(b'')
    assert (hasher.size, root, layer) == (0, bytes(32), [])
    assert merkle.layer_root([], hasher.piece) == root


def test_a_view_is_hashed_like_bytes(noise):
    data = noise[: MIB + 1]
    for view in (memoryview(data), bytearray(data)):
        assert hashed(view, 70_001)[1:] == hashed(data)[1:]


def test_many_pieces_take_little_memory(monkeypatch):
    for name, value in TINY.items():
        monkeypatch.setattr(merkle, name, value)
    hasher = merkle.TreeHasher()
    for _ in range(1000):
        hasher.update(bytes(64))
        assert len(hasher._layer) < 4
        assert len(hasher._blocks) <= hasher.piece // merkle.BLOCK


SETTINGS = hypothesis.settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
contents = st.integers(0, 3000).flatmap(
    lambda n: st.randoms(use_true_random=False).map(lambda r: r.randbytes(n))
)


def in_a_tiny_tree(test):
    """Give *test* many pieces, as a property of any content."""
    return pytest.mark.usefixtures('tiny')(
        SETTINGS(hypothesis.given(data=contents)(test))
    )


@in_a_tiny_tree
def test_the_root_is_that_over_all_blocks(data):
    hypothesis.assume(data)
    assert hashed(data)[1] == by_the_book(data)


@in_a_tiny_tree
def test_the_hasher_ends_at_the_piece_size_of_the_file(data):
    hasher, _, layer = hashed(data, 50)
    assert hasher.size == len(data)
    assert hasher.piece == merkle.piece_size(len(data))
    assert len(layer) == -(-len(data) // hasher.piece)


@in_a_tiny_tree
def test_the_layer_proves_the_root(data):
    hasher, root, layer = hashed(data)
    assert merkle.layer_root(layer, hasher.piece) == root
    assert merkle.split_layer(b''.join(layer)) == layer


@in_a_tiny_tree
def test_each_piece_is_proved_by_its_hash(data):
    hasher, _, layer = hashed(data)
    step = hasher.piece
    assert layer == [
        merkle.piece_hash(data[at : at + step], len(data), step)
        for at in range(0, len(data), step)
    ]


@pytest.mark.usefixtures('tiny')
@SETTINGS
@hypothesis.given(data=contents, cuts=st.lists(st.integers(0, 3000)))
def test_the_chunks_of_the_stream_do_not_matter(data, cuts):
    hasher = merkle.TreeHasher()
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        hasher.update(data[start:end])
    assert hasher.finish() == hashed(data)[1:]


@pytest.mark.usefixtures('tiny')
@SETTINGS
@hypothesis.given(
    parts=st.lists(st.tuples(st.booleans(), st.integers(0, 3000)))
)
def test_zeros_need_no_bytes(parts):
    hasher, data = merkle.TreeHasher(), b''
    for is_hole, length in parts:
        part = bytes(length) if is_hole else random.Random(7).randbytes(length)
        data += part
        (hasher.update_zeros(length) if is_hole else hasher.update(part))
        assert hasher.size == len(data)
    expected, *outcome = hashed(data)
    assert list(hasher.finish()) == outcome
    assert hasher.piece == expected.piece


@pytest.mark.usefixtures('tiny')
@pytest.mark.parametrize('pieces', [1, 3, 4, 5, 8, 16])
def test_a_hole_that_ends_with_a_piece_is_hashed_as_data(pieces):
    size = pieces * TINY['MIN_PIECE']
    hasher = merkle.TreeHasher()
    hasher.update_zeros(size)
    expected, *outcome = hashed(bytes(size))
    assert list(hasher.finish()) == outcome
    assert hasher.piece == expected.piece == merkle.piece_size(size)


def test_the_end_can_be_asked_for_twice(noise):
    for size in 1, 16 * KIB, 300 * KIB:
        hasher = hashed(noise[:size])[0]
        assert hasher.finish() == hasher.finish()


def test_a_huge_hole_takes_no_time(monkeypatch):
    hashed_bytes = []
    sha256 = hashlib.sha256

    def counted(data):
        hashed_bytes.append(len(data))
        return sha256(data)

    monkeypatch.setattr(merkle.hashlib, 'sha256', counted)
    hasher = merkle.TreeHasher()
    hasher.update(b'data')
    hasher.update_zeros(1 << 44)
    hasher.finish()
    assert hasher.piece == merkle.piece_size((1 << 44) + 4)
    assert sum(hashed_bytes) < 128 * MIB


@pytest.mark.usefixtures('tiny')
@SETTINGS
@hypothesis.given(
    data=contents, at=st.integers(0, 2999), flip=st.integers(1, 255)
)
def test_one_changed_byte_changes_its_piece_and_the_root(data, at, flip):
    hypothesis.assume(at < len(data))
    other = bytearray(data)
    other[at] ^= flip
    hasher, root, layer = hashed(data)
    _, changed, pieces = hashed(other)
    assert changed != root
    assert [
        n for n, (a, b) in enumerate(zip(layer, pieces, strict=True)) if a != b
    ] == [at // hasher.piece]


@in_a_tiny_tree
def test_one_more_byte_changes_the_root(data):
    assert len({hashed(data + more)[1] for more in (b'', b'\0', b'\0\0')}) == 3


@hypothesis.given(st.integers(1, 40), st.integers(0, 3))
def test_a_row_is_filled_up_to_its_width(length, doublings):
    row = [bytes([n]) * 32 for n in range(length)]
    filler = b'f' * 32
    width = (1 << (length - 1).bit_length()) << doublings
    full = row + [filler] * (width - length)
    pair = functools.partial(map, lambda a, b: hashlib.sha256(a + b).digest())
    while len(full) > 1:
        full = list(pair(full[::2], full[1::2]))
    assert merkle.root(row, width, filler) == full[0]
    assert row == [bytes([n]) * 32 for n in range(length)]


def test_a_digest_is_that_of_the_size_and_the_root():
    root = hashed(b'abc')[1]
    assert merkle.identify(3, root) == (
        hashlib.sha256(bytes(7) + b'\x03' + root).hexdigest()
    )


@pytest.mark.parametrize('size', [32 * KIB, 33 * KIB, 5 * MIB + 1])
def test_two_contents_with_one_root_have_two_digests(noise, size):
    blocks = merkle.block_hashes(noise[:size])
    half = 1 << (len(blocks) - 1).bit_length() - 1
    upper = merkle.root(blocks[:half]) + merkle.root(blocks[half:], half)
    root = hashed(noise[:size])[1]
    assert hashed(upper)[1] == root  # leaves are not told from inner nodes
    assert merkle.identify(len(upper), root) != merkle.identify(size, root)


@pytest.mark.parametrize(
    'size',
    [0, 1, merkle.MIN_PIECE, merkle.MIN_PIECE + 1, 5 * merkle.MIN_PIECE + 77],
)
def test_a_layer_proves_the_root_of_its_file(size: int) -> None:
    hasher = merkle.TreeHasher()
    hasher.update(bytes(range(256)) * (size // 256) + b'x' * (size % 256))
    root, layer = hasher.finish()
    assert (
        merkle.prove_layer(b''.join(layer), size, hasher.piece, root) == layer
    )


def test_pieces_of_one_block_prove_their_file(noise):
    data = noise[: 3 * merkle.BLOCK]
    blocks = merkle.block_hashes(data)
    assert (
        merkle.prove_layer(
            b''.join(blocks), len(data), merkle.BLOCK, by_the_book(data)
        )
        == blocks
    )


@pytest.mark.parametrize(
    ('change', 'piece', 'why'),
    [
        (
            lambda layer: b'',
            merkle.MIN_PIECE,
            '0 bytes are not one hash a piece',
        ),
        (lambda layer: layer[:-1], merkle.MIN_PIECE, 'not one hash a piece'),
        (
            lambda layer: layer + bytes(32),
            merkle.MIN_PIECE,
            'not one hash a piece',
        ),
        (
            lambda layer: layer[::-1],
            merkle.MIN_PIECE,
            '^the hashes of the pieces prove another root$',
        ),
        (lambda layer: layer, 2 * merkle.MIN_PIECE, 'not one hash a piece'),
        (lambda layer: layer, 0, 'no pieces of 0 bytes'),
        (lambda layer: layer, 3 * merkle.BLOCK, 'no pieces of 49152 bytes'),
    ],
)
def test_a_layer_that_does_not_is_refused(
    change: Callable[[bytes], bytes], piece: int, why: str
) -> None:
    hasher = merkle.TreeHasher()
    hasher.update(bytes(range(256)) * (5 * merkle.MIN_PIECE // 256))
    root, layer = hasher.finish()
    with pytest.raises(ValueError, match=why):
        merkle.prove_layer(
            change(b''.join(layer)), 5 * merkle.MIN_PIECE, piece, root
        )
