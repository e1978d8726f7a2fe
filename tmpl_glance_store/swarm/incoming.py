# SPDX-License-Identifier: Apache-2.0
"""The file that a fetch writes: what is proven in it, and its holes.

No record of progress is kept beside the file. After a crash, also one of the
machine, the bytes themselves tell which pieces are there, so that nothing is
believed that did not reach the disk.
"""

import ctypes
import errno
import functools
import os
import threading
from collections.abc import Iterator
from typing import BinaryIO

from tmpl_glance_store import fsutil
from tmpl_glance_store import merkle
from tmpl_glance_store import objects

_ZEROS = bytes(fsutil.HOLE)
_STEP = 64 * fsutil.HOLE
_PEEK = 64

# linux/falloc.h
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_int64,
)


def prepare(
    path: str,
    template: objects.Template,
    layer: list[bytes],
    stop: threading.Event,
) -> list[bool]:
    """Make *path* a sparse file of full size; tell which pieces it holds.

    Reads only what the file system says is not a hole. A piece of zeros is
    there from the start: a hole reads as just that.

    :param layer: the hashes of all pieces, in order
    :param stop: gives up when set; the pieces left count as missing
    :raises OSError: as the kernel says
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(fd, 'rb') as file:
        if os.fstat(fd).st_size != template.size:
            os.ftruncate(fd, template.size)
        written = _written_pieces(fd, template)
        return [
            not stop.is_set()
            and expected
            == (
                _hash(file, template, index)
                if index in written
                else _hash_of_zeros(
                    template.size,
                    template.piece_size,
                    _length(template, index),
                )
            )
            for index, expected in enumerate(layer)
        ]


def punch_zeros(path: str, stop: threading.Event) -> None:
    """Turn aligned runs of zeros in the finished file *path* into holes.

    Nobody may be writing to the file. A file system that knows no holes is
    left as it is.

    :raises OSError: as the kernel says
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for start, end in _zero_runs(fd, os.fstat(fd).st_size):
            if stop.is_set() or not _punch(fd, start, end - start):
                return
    finally:
        os.close(fd)


def _length(template: objects.Template, index: int) -> int:
    return min(
        template.piece_size, template.size - index * template.piece_size
    )


def _written_pieces(fd: int, template: objects.Template) -> set[int]:
    """Return the indexes of the pieces that are not wholly holes."""
    written: set[int] = set()
    for start, end in fsutil.data_extents(fd, template.size):
        written.update(
            range(
                start // template.piece_size,
                (end - 1) // template.piece_size + 1,
            )
        )
    return written


def _hash(file: BinaryIO, template: objects.Template, index: int) -> bytes:
    """Return the hash of a piece on disk, in bounded memory."""
    file.seek(index * template.piece_size)
    left, blocks = _length(template, index), []
    while left:
        data = file.read(min(_STEP, left))
        if not data:
            raise OSError(errno.EIO, 'the file became shorter')
        blocks += merkle.block_hashes(data)
        left -= len(data)
    return _root(template.size, template.piece_size, blocks)


@functools.lru_cache(maxsize=64)
def _hash_of_zeros(size: int, piece: int, length: int) -> bytes:
    """Return the hash of a piece of *length* zeros."""
    blocks = merkle.block_hashes(_ZEROS[: merkle.BLOCK])
    blocks *= length // merkle.BLOCK
    if length % merkle.BLOCK:
        blocks += merkle.block_hashes(_ZEROS[: length % merkle.BLOCK])
    return _root(size, piece, blocks)


def _root(size: int, piece: int, blocks: list[bytes]) -> bytes:
    return merkle.root(blocks, 0 if size <= piece else piece // merkle.BLOCK)


def _zero_runs(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the written runs of aligned zeros."""
    for first, end in fsutil.data_extents(fd, size):
        run = None
        at = first - first % fsutil.HOLE
        while at < end:
            zero = _is_zero(fd, at)
            if zero and run is None:
                run = at
            elif not zero and run is not None:
                yield run, at
                run = None
            at += fsutil.HOLE
        if run is not None:
            yield run, at


def _is_zero(fd: int, at: int) -> bool:
    """Tell whether the hole-sized block at *at* is full of zeros."""
    # Nearly every block that is not shows it in its first bytes.
    return (
        os.pread(fd, _PEEK, at) == _ZEROS[:_PEEK]
        and os.pread(fd, fsutil.HOLE, at) == _ZEROS
    )


def _punch(fd: int, start: int, length: int) -> bool:
    """Make a hole; tell whether the file system can."""
    if not _libc.fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, length):
        return True
    code = ctypes.get_errno()
    if code in (errno.EOPNOTSUPP, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code))
