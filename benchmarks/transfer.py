# SPDX-License-Identifier: Apache-2.0
"""Uploads and downloads, ours against ``file``, alternating in one run."""

import collections
import hashlib
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from glance_store import location

from benchmarks import report
from benchmarks import stores

MIB = 1 << 20
_BLOCK = 16 * MIB


class Stream:
    """A readable stream of *size* bytes that no two streams share.

    One random block is repeated with a counter in it: making the data must
    cost little beside storing them.
    """

    random = os.urandom(_BLOCK)
    _serial = itertools.count()

    def __init__(self, size: int) -> None:
        self._left = size
        self._offset = 0
        self._head = next(self._serial).to_bytes(8, 'big')

    def read(self, length: int) -> bytes:
        """Return up to *length* bytes."""
        length = min(length, self._left, _BLOCK - self._offset)
        if self._offset:
            data = self.random[self._offset : self._offset + length]
        else:
            data = (self._head + self.random[8:length])[:length]
        self._left -= len(data)
        self._offset = (self._offset + len(data)) % _BLOCK
        return data


def _seconds(function: Callable[[], object]) -> float:
    # What the other side left to be written must not be on our account.
    os.sync()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _touch_memory(size: int) -> None:
    """Have the kernel hold *size* free bytes that were in use just now.

    A virtual machine gives free memory back to its host, and pays when it
    takes it again: up to 2 s a GiB were seen, on whoever came first.
    """
    with tempfile.TemporaryFile(dir=stores.disk()) as file:
        for _ in range(0, size, _BLOCK):
            file.write(Stream.random)


def _read(store: Any, where: Any, **kwargs: int) -> None:
    data, _ = store.get(where, **kwargs)
    collections.deque(data, maxlen=0)


def _read_ranges(store: Any, where: Any, size: int) -> None:
    for offset in range(0, size, 8 * MIB):
        _read(store, where, offset=offset + 12345, chunk_size=4 * MIB)


def _md5(size: int) -> None:
    stream, md5 = Stream(size), hashlib.md5(usedforsecurity=False)
    while data := stream.read(MIB):
        md5.update(data)


def measure(size: int, rounds: int) -> Iterator[report.Figure]:
    """Yield the figures of uploads and downloads of *size* bytes."""
    times: dict[str, list[float]] = collections.defaultdict(list)
    with stores.scratch() as root:
        conf, both = stores.build(root)
        for _ in range(rounds):
            times['md5'].append(_seconds(lambda: _md5(size)))
            for name, store in both.items():
                _round(conf, store, name, size, times)
    yield from _compare(times, size)
    yield from _memory(size)


def _round(
    conf: Any, store: Any, name: str, size: int, times: dict[str, list[float]]
) -> None:
    added: list[Any] = []
    _touch_memory(size)
    times[f'add {name}'].append(
        _seconds(
            lambda: added.extend(
                store.add(str(uuid.uuid4()), Stream(size), size, 'sha512')
            )
        )
    )
    where = location.get_location_from_uri(added[0], conf)
    _read(store, where)  # both sides are measured with the page cache filled
    times[f'get {name}'].append(_seconds(lambda: _read(store, where)))
    times[f'ranges {name}'].append(
        _seconds(lambda: _read_ranges(store, where, size))
    )
    store.delete(where)


def _compare(
    times: dict[str, list[float]], size: int
) -> Iterator[report.Figure]:
    def ratio(slow: str, fast: str) -> float:
        return statistics.median(
            a / b for a, b in zip(times[slow], times[fast], strict=True)
        )

    for name in sorted(times):
        speed = size / MIB / statistics.median(times[name])
        yield report.figure(name, speed, 'MiB/s')
    faster = ratio('add file', 'add tmpl')
    yield report.figure(
        'add: times as fast as file', faster, 'x', '>= 1.4', faster >= 1.4
    )
    alone = ratio('add tmpl', 'md5')
    cores = len(os.sched_getaffinity(0))
    yield report.figure(
        f'add: time against md5 alone ({cores} cores)',
        alone,
        'x',
        '<= 1.15 on 4',
        alone <= 1.15 if cores >= 4 else None,
    )
    for what in ('get', 'ranges'):
        faster = ratio(f'{what} file', f'{what} tmpl')
        yield report.figure(
            f'{what}: times as fast as file', faster, 'x', '>= 1', faster >= 1
        )


def _memory(size: int) -> Iterator[report.Figure]:
    """Measure each of add and get in a process of its own."""
    for what in ('add', 'get'):
        done = subprocess.run(
            [sys.executable, '-m', 'benchmarks.transfer', what, str(size)],
            check=True,
            capture_output=True,
            text=True,
        )
        extra = float(done.stdout.split()[-1])
        yield report.figure(
            f'{what}: peak extra memory', extra, 'MiB', '<= 64', extra <= 64
        )


def _extra_memory(what: str, size: int) -> float:
    """Return by how many MiB one operation raises the peak memory."""
    with stores.scratch() as root:
        conf, both = stores.build(root)
        store = both['tmpl']
        small = store.add(str(uuid.uuid4()), Stream(MIB), MIB, 'sha512')
        where = location.get_location_from_uri(small[0], conf)
        if what == 'get':
            url = store.add(str(uuid.uuid4()), Stream(size), size, 'sha512')[0]
            where = location.get_location_from_uri(url, conf)
            _reset_peak()
        before = _peak()
        if what == 'add':
            store.add(str(uuid.uuid4()), Stream(size), size, 'sha512')
        else:
            _read(store, where)
        return (_peak() - before) / 1024


def _reset_peak() -> None:
    with open('/proc/self/clear_refs', 'w', encoding='ascii') as file:
        file.write('5')


def _peak() -> int:
    """Return the peak resident memory in KiB since the last reset."""
    with open('/proc/self/status', encoding='ascii') as file:
        for line in file:
            if line.startswith('VmHWM'):
                return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == '__main__':
    print(_extra_memory(sys.argv[1], int(sys.argv[2])))
