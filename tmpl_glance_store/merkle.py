# SPDX-License-Identifier: Apache-2.0
"""The BitTorrent v2 hash tree of a file (BEP 52), and what identifies it.

Leaves are SHA-256 of 16 KiB blocks. Above the last block the tree is filled
with all-zero leaf hashes up to a power of two. The *piece layer* is the row of
the tree in which one hash covers one piece; who knows it can prove any piece
alone, and it is proved itself by hashing up to the root.
"""

import hashlib
from collections.abc import Sequence

BLOCK = 16 << 10
HASH_SIZE = 32
MIN_PIECE = 256 << 10

# Bounds both the layer that is kept in memory while hashing (256 KiB) and the
# size of the piece layer on disk, whatever the size of the file.
MAX_PIECES = 8192

_ZERO_LEAF = bytes(HASH_SIZE)  # beyond the last block


def identify(size: int, root: bytes) -> str:
    """Return the digest of a file: what identifies its content, in hex.

    The SHA-256 of the size (8 bytes, big endian) and the root. BEP 52 does not
    part leaves from inner nodes: the 64 bytes of two child hashes are a file
    with the root of their parent. So the root, which proves the pieces,
    identifies nothing without the size.

    :param size: in bytes
    :param root: 32 bytes
    """
    return hashlib.sha256(size.to_bytes(8, 'big') + root).hexdigest()


def piece_size(size: int) -> int:
    """Return the piece size in bytes for a file of *size* bytes.

    The smallest power of two, from 256 KiB on, that cuts the file into at
    most 8192 pieces.
    """
    result = MIN_PIECE
    while size > result * MAX_PIECES:
        result *= 2
    return result


def _parents(row: Sequence[bytes]) -> list[bytes]:
    sha256 = hashlib.sha256
    return [
        sha256(row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)
    ]


def _uniform_root(leaf: bytes, leaves: int) -> bytes:
    """Return the root over *leaves* (a power of two) times the same leaf."""
    while leaves > 1:
        leaf = hashlib.sha256(leaf + leaf).digest()
        leaves //= 2
    return leaf


def root(
    row: Sequence[bytes], width: int = 0, filler: bytes = _ZERO_LEAF
) -> bytes:
    """Return the root over *row*, filled up with *filler*.

    :param row: hashes of one row of the tree
    :param width: number of hashes to fill up to, a power of two; default:
                  the next power of two
    """
    row = list(row)
    if not width:
        width = 1 << max(len(row) - 1, 0).bit_length()
    row += [filler] * (width - len(row))
    while len(row) > 1:
        row = _parents(row)
    return row[0]


def block_hashes(data: bytes | memoryview) -> list[bytes]:
    """Return SHA-256 of each 16 KiB block of *data*; the last may be short."""
    sha256 = hashlib.sha256
    view = memoryview(data)
    return [
        sha256(view[i : i + BLOCK]).digest()
        for i in range(0, len(view), BLOCK)
    ]


def piece_hash(data: bytes | memoryview, size: int, piece: int) -> bytes:
    """Return the hash of one piece of a file.

    :param data: the bytes of the piece, short if it is the last one
    :param size: of the file in bytes: a file of a single piece has a tree
                 of its own width (BEP 52)
    :param piece: the piece size in bytes
    """
    return root(block_hashes(data), 0 if size <= piece else piece // BLOCK)


def layer_root(layer: Sequence[bytes], piece: int) -> bytes:
    """Return the root (32 raw bytes) that a piece layer proves.

    :param layer: the hashes of all pieces, in order
    :param piece: the piece size in bytes
    """
    if len(layer) <= 1:
        return layer[0] if layer else _ZERO_LEAF
    return root(layer, filler=_uniform_root(_ZERO_LEAF, piece // BLOCK))


def split_layer(data: bytes) -> list[bytes]:
    """Return the hashes in *data*, the content of a ``pieces`` file."""
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


def layer_size(size: int, piece: int) -> int:
    """Return the bytes that the piece layer of a file of *size* bytes has."""
    return -(-size // piece) * HASH_SIZE


def prove_layer(
    pieces: bytes, size: int, piece: int, expected: bytes
) -> list[bytes]:
    """Return the hashes in *pieces*, once they are proved.

    :param pieces: the content of a ``pieces`` file, from whoever gave it
    :param size: of the file in bytes
    :param piece: the piece size in bytes
    :param expected: the root (32 raw bytes) that they have to lead to
    :raises ValueError: if they do not; says why
    """
    if piece < BLOCK or piece & (piece - 1):
        raise ValueError(f'there are no pieces of {piece} bytes')
    # With the filler of the tree added, a longer layer has the same root.
    if len(pieces) != layer_size(size, piece):
        raise ValueError(f'{len(pieces)} bytes are not one hash a piece')
    layer = split_layer(pieces)
    if layer_root(layer, piece) != expected:
        raise ValueError('the hashes of the pieces prove another root')
    return layer


class TreeHasher:
    """Hash a stream into a root and a piece layer, in bounded memory.

    The piece size follows from the size, which is known only at the end: the
    hasher starts with the smallest pieces and merges them in pairs whenever
    there are too many, so that it always ends at :func:`piece_size`.
    """

    def __init__(self) -> None:
        self.size = 0
        self.piece = MIN_PIECE
        self._layer: list[bytes] = []
        self._blocks: list[bytes] = []
        self._rest = b''

    def update(self, data: bytes | memoryview) -> None:
        """Hash the next bytes of the stream."""
        view = memoryview(data)
        self.size += len(view)
        if self._rest:
            missing = BLOCK - len(self._rest)
            self._rest += view[:missing]
            view = view[missing:]
            if len(self._rest) < BLOCK:
                return
            self._add(block_hashes(self._rest))
            self._rest = b''
        whole = len(view) - len(view) % BLOCK
        self._add(block_hashes(view[:whole]))
        self._rest = bytes(view[whole:])

    def update_zeros(self, length: int) -> None:
        """Hash the next *length* bytes of the stream, all of them zero.

        Pieces of zeros have all the same hash: a hole of any size takes no
        time, and is not read.
        """
        head = min(-self.size % BLOCK, length)
        self.update(bytes(head))
        blocks, tail = divmod(length - head, BLOCK)
        self.size += blocks * BLOCK
        leaf = hashlib.sha256(bytes(BLOCK)).digest()
        while blocks:
            width = self.piece // BLOCK
            if len(self._blocks) == width:
                self._end_piece(root(self._blocks, width))
                self._blocks = []
            elif not self._blocks and blocks > width:
                self._end_piece(_uniform_root(leaf, width))
                blocks -= width
            else:
                more = min(blocks, width - len(self._blocks))
                self._blocks += [leaf] * more
                blocks -= more
        self.update(bytes(tail))

    def finish(self) -> tuple[bytes, list[bytes]]:
        """Return the root (32 raw bytes) and the piece layer.

        A file of one piece has a layer of one hash: the root itself. An
        empty file, for which BEP 52 defines no root, has no layer, and the
        all-zero root of a tree without a block.
        """
        if self._rest:
            self._add(block_hashes(self._rest))
            self._rest = b''
        if self._blocks:
            single = self.size <= self.piece
            self._layer.append(
                root(self._blocks, 0 if single else self.piece // BLOCK)
            )
            self._blocks = []
        return layer_root(self._layer, self.piece), self._layer

    def _add(self, blocks: list[bytes]) -> None:
        self._blocks += blocks
        # A full piece waits for its successor: the only piece of a file has
        # a tree of its own width, and only the end tells.
        while len(self._blocks) > (width := self.piece // BLOCK):
            self._end_piece(root(self._blocks[:width], width))
            del self._blocks[:width]

    def _end_piece(self, piece_hash: bytes) -> None:
        """Take the hash of a full piece that has a successor."""
        self._layer.append(piece_hash)
        if len(self._layer) == MAX_PIECES:
            self._layer = _parents(self._layer)
            self.piece *= 2
