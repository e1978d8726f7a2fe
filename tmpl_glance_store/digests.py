# SPDX-License-Identifier: Apache-2.0
"""All hashes of a stream in one pass, on parallel threads, in bounded memory.

hashlib and xxhash release the GIL, so that the hashes use as many cores as
there are. The reader is the calling thread; every hash and every consumer has
a lane, which gets every byte in order; the slowest one sets the pace.
"""

import collections
import dataclasses
import errno
import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import xxhash

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import merkle

#: Bytes that travel through the lanes at a time: each hand-over has to get
#: the GIL, and a core may be idle meanwhile.
BATCH = 1 << 20

#: Batches that may wait for the slowest lane: bounds memory, smooths speed.
DEPTH = 24


@dataclasses.dataclass(frozen=True)
class Digests:
    """What is known of a stream after one pass.

    ``size`` is in bytes, ``position`` an unsigned 64-bit integer, ``pieces``
    the piece layer (32 bytes a piece of ``piece_size`` bytes); the others are
    lower-case hex. ``root`` proves the pieces, ``digest`` identifies the
    content: see :func:`merkle.identify`.
    """

    size: int
    checksum: str
    multihash: str
    position: int
    root: str
    digest: str
    piece_size: int
    pieces: bytes


class _Lane:
    """Feeds one consumer, in order, one batch at a time.

    The reader needs a credit for each batch, and a consumed batch gives one
    back: that bounds what waits. Both ways are ``SimpleQueue``, whose cost
    does not show beside the hashing, unlike that of ``Queue``.
    """

    def __init__(
        self,
        consume: Callable[[bytes], Any],
        timeout: float,
        ready: 'queue.SimpleQueue[_Lane | None]',
    ) -> None:
        self._consume = consume
        self._timeout = timeout
        self._ready = ready
        self._inbox: collections.deque[bytes] = collections.deque()
        # A lane is in the queue of its crew, or in the hands of one of its
        # threads, or has nothing to do: never two of these at once.
        self._lock = threading.Lock()
        self._scheduled = False
        self._credits: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(DEPTH):
            self._credits.put(None)
        self._error: BaseException | None = None

    def put(self, batch: bytes) -> None:
        """Hand over *batch*; raise the consumer's error, if there is one.

        :raises Stalled: if the lane takes nothing within the timeout
        """
        if self._error is not None:
            raise self._error
        self._take_credit()
        with self._lock:
            self._inbox.append(batch)
            waiting, self._scheduled = self._scheduled, True
        if not waiting:
            self._ready.put(self)

    def step(self) -> None:
        """Consume the batch that waits longest, then queue up for the next.

        One batch at a time keeps the lanes of a crew abreast of each other.
        """
        # After an error go on taking batches: the reader must not wait for a
        # credit before it has seen the error.
        if self._error is None:
            try:
                self._consume(self._inbox[0])
            except BaseException as exc:  # raised again in the reader
                self._error = exc
        with self._lock:
            del self._inbox[0]
            self._scheduled = again = bool(self._inbox)
        if again:
            self._ready.put(self)
        self._credits.put(None)

    def finish(self) -> None:
        """Wait until everything handed over is consumed; raise its error."""
        for _ in range(DEPTH):  # all credits are back when all is consumed
            self._take_credit()
        if self._error is not None:
            raise self._error

    def _take_credit(self) -> None:
        try:
            self._credits.get(timeout=self._timeout)
        except queue.Empty:
            raise exceptions.Stalled(
                f'no progress for {self._timeout:g} s while storing the '
                f'image: the disk hangs, or tmpl_store_write_timeout is too '
                f'short'
            ) from None


class _Crew:
    """As many threads as cores, which share the work of all lanes.

    A thread for each lane left the cores idle a fifth of the time: who is
    ahead waits for the slowest, which has no core to itself. Threads that
    take the next batch of whichever lane waits longest keep all cores at work
    to the end. Two at the least: one may be waiting for the disk.
    """

    def __init__(
        self, consumers: Iterable[Callable[[bytes], Any]], timeout: float
    ) -> None:
        self._ready: queue.SimpleQueue[_Lane | None] = queue.SimpleQueue()
        self._dismissed = False
        self.lanes = [
            _Lane(consume, timeout, self._ready) for consume in consumers
        ]
        size = min(len(self.lanes), max(2, len(os.sched_getaffinity(0))))
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name='digests')
            for _ in range(size)
        ]

    def start(self) -> None:
        """Begin to consume what is put into the lanes."""
        for thread in self._threads:
            thread.start()

    def dismiss(self) -> None:
        """End the threads at once; a consumer that hangs is left alone."""
        self._dismissed = True
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(1)

    def _work(self) -> None:
        while (lane := self._ready.get()) is not None and not self._dismissed:
            lane.step()


def new_hasher(algorithm: str) -> Any:
    """Return a hashlib object for *algorithm*.

    :raises UnknownHashingAlgorithm: if hashlib has no such algorithm, or one
        without a fixed length (``shake_*``), which Glance cannot use
    """
    try:
        hasher = hashlib.new(algorithm, usedforsecurity=False)
    except (ValueError, TypeError):
        hasher = None
    if not getattr(hasher, 'digest_size', 0):
        raise exceptions.UnknownHashingAlgorithm(str(algorithm))
    return hasher


def batches(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of *chunks* in pieces of ``BATCH``, the last shorter.

    A stream may come in chunks of any size; one size keeps the cost of a
    hand-over and the memory in flight constant.
    """
    waiting: list[bytes] = []
    length = 0
    for chunk in chunks:
        # bytes() is free for bytes, and copies what the source may reuse.
        waiting.append(bytes(chunk))
        length += len(chunk)
        if length >= BATCH:
            data = waiting[0] if len(waiting) == 1 else b''.join(waiting)
            whole = length - length % BATCH
            if whole == BATCH == length:
                yield data
            else:
                for start in range(0, whole, BATCH):
                    yield data[start : start + BATCH]
            waiting, length = [data[whole:]], length - whole
            del data
    if length:
        yield b''.join(waiting)


def checked(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield *chunks*; raise as soon as there are more bytes than declared.

    :param size: the declared size in bytes; 0 if unknown (Glance's rule)
    :raises Invalid: if the stream is longer or shorter than *size*
    """
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if size and received > size:
            raise exceptions.Invalid(
                f'Size exceeds: expected {size} bytes, got {received} bytes'
            )
        yield chunk
    if size and received != size:
        raise exceptions.Invalid(
            f'Size mismatch: expected {size} bytes, got {received} bytes'
        )


class _Hashes:
    """The hashers of one stream."""

    def __init__(self, algorithm: str, seed: int) -> None:
        self.multihash = new_hasher(algorithm)
        self.checksum = (
            self.multihash if algorithm == 'md5' else new_hasher('md5')
        )
        self.position = xxhash.xxh3_64(seed=seed)
        self.tree = merkle.TreeHasher()

    def consumers(self) -> list[Callable[[bytes], Any]]:
        """Return one function a lane; a lane keeps one core at work."""
        one_each = {id(h): h.update for h in (self.multihash, self.checksum)}
        return [*one_each.values(), self._place_and_prove]

    def _place_and_prove(self, batch: bytes) -> None:
        # XXH3 is so fast that it rides along with the tree.
        self.position.update(batch)
        self.tree.update(batch)

    def result(self) -> Digests:
        root, layer = self.tree.finish()
        return Digests(
            size=self.tree.size,
            checksum=self.checksum.hexdigest(),
            multihash=self.multihash.hexdigest(),
            position=self.position.intdigest(),
            root=root.hex(),
            digest=merkle.identify(self.tree.size, root),
            piece_size=self.tree.piece,
            pieces=b''.join(layer),
        )


def ingest(
    chunks: Iterable[bytes],
    algorithm: str,
    consumers: Iterable[Callable[[bytes], Any]],
    timeout: float,
    seed: int = 0,
) -> Digests:
    """Hash a stream while *consumers* get every byte of it, in order.

    :param chunks: the stream; what it raises is raised here
    :param algorithm: hashlib's name of the multihash
    :param consumers: functions of one bytes object, never called by two
        threads at once: the file writer, a signature verifier; what one
        raises is raised here
    :param timeout: seconds that a lane may stand still
    :param seed: of the position, a secret of the cluster: who knew it could
        choose contents that all go to one disk
    :raises UnknownHashingAlgorithm: before anything is read
    :raises Stalled: if a lane stands still
    """
    hashes = _Hashes(algorithm, seed)
    crew = _Crew([*hashes.consumers(), *consumers], timeout)
    crew.start()
    try:
        for batch in batches(chunks):
            for lane in crew.lanes:
                lane.put(batch)
        for lane in crew.lanes:
            lane.finish()
    finally:
        crew.dismiss()
    return hashes.result()


def digest_of(
    fd: int, on_read: Callable[[int], None] = lambda length: None
) -> str:
    """Return the digest of the open file *fd*, in hex.

    Its holes are not read: a template's disk consists mostly of them.

    :param on_read: told the bytes of each read; what it raises ends it
    :raises OSError: if the file cannot be read, or becomes shorter
    """
    tree = merkle.TreeHasher()
    size = os.fstat(fd).st_size
    for start, end in fsutil.data_extents(fd, size):
        tree.update_zeros(start - tree.size)
        while tree.size < end:
            data = os.pread(fd, min(BATCH, end - tree.size), tree.size)
            if not data:
                raise OSError(errno.EIO, 'the file became shorter')
            tree.update(data)
            on_read(len(data))
    tree.update_zeros(size - tree.size)
    return merkle.identify(size, tree.finish()[0])
