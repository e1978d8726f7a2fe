# SPDX-License-Identifier: Apache-2.0
"""Several processes with several threads each, on one catalog and its disks.

As glance-api under uWSGI, with more going on.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import gc
import multiprocessing
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from harness import host as hosts
from harness.host import Host
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store.images import url as image_url

PROCESSES, THREADS, TURNS = 4, 4, 25

#: Contents that all of them upload: some small, some of several pieces.
SIZES = (1, 70_000, 300_000, 600_000)


def content(number: int) -> bytes:
    return hosts.content(SIZES[number], number)


Kept = dict[str, tuple[int, image_url.ImageUrl]]


@dataclasses.dataclass
class Worker:
    """One thread: uploads, reads and deletes its images at random."""

    parts: factory.Parts
    name: str
    draw: random.Random
    kept: Kept = dataclasses.field(default_factory=dict)
    done: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )

    def run(self) -> 'Worker':
        for turn in range(TURNS):
            act = self.draw.choice(
                (self.add, self.add, self.read, self.delete, self.meet)
            )
            act(f'{self.name}-{turn}')
            self.done[act.__name__] += 1
        return self

    def add(self, image_id: str) -> None:
        number = self.draw.randrange(len(SIZES))
        self.kept[image_id] = (
            number,
            hosts.add(self.parts, content(number), image_id),
        )

    def read(self, _: str) -> None:
        for number, image in self.kept.values():
            assert hosts.read(self.parts, image) == content(number)

    def delete(self, _: str) -> None:
        if self.kept:
            image_id = self.draw.choice(list(self.kept))
            hosts.remove(self.parts, self.kept.pop(image_id)[1])

    def meet(self, _: str) -> None:
        """All fight for one image: whoever has bound it last deletes it."""
        image = hosts.add(self.parts, content(0), 'fought-for')
        with contextlib.suppress(exceptions.NotFound):
            hosts.remove(self.parts, image)


def work(
    host: str, process: int, seed: int
) -> tuple[Kept, collections.Counter[str]]:
    """Be one of the processes; return what its threads have kept."""
    parts = Host.from_json(host).parts()
    workers = [
        Worker(
            parts,
            f'image-{process}-{thread}',
            random.Random(f'{seed}/{process}/{thread}'),
        )
        for thread in range(THREADS)
    ]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        ended = list(threads.map(Worker.run, workers))
    return (
        {
            image_id: kept
            for worker in ended
            for image_id, kept in worker.kept.items()
        },
        sum((worker.done for worker in ended), collections.Counter()),
    )


@pytest.fixture
def processes() -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    # Started anew: a fork would inherit the threads and locks of the tests.
    with concurrent.futures.ProcessPoolExecutor(
        PROCESSES, multiprocessing.get_context('spawn')
    ) as pool:
        yield pool


@pytest.mark.parametrize(
    'locations',
    [('ssd:a:1', 'ssd:b:1', 'ssd:c:1'), ('staging:s:1', 'ssd:a:1')],
)
def test_the_disks_and_the_catalog_agree_after_a_crowd_has_worked_on_them(
    tmp_path: pathlib.Path,
    locations: tuple[str, ...],
    processes: concurrent.futures.ProcessPoolExecutor,
) -> None:
    host = Host(tmp_path, *locations)
    seed = int(os.environ.get('TMPL_CROWD_SEED', random.getrandbits(32)))
    print(f'repeat with TMPL_CROWD_SEED={seed}')
    done: collections.Counter[str] = collections.Counter()
    kept: Kept = {}
    for their_kept, their_done in processes.map(
        work,
        [host.to_json()] * PROCESSES,
        range(PROCESSES),
        [seed] * PROCESSES,
    ):
        kept.update(their_kept)
        done += their_done
    assert done.total() == PROCESSES * THREADS * TURNS
    assert host.disagreements() == []
    assert host.quarantined() == []
    assert host.records('images').keys() == kept.keys()
    assert len(host.copies()) == len({number for number, _ in kept.values()})
    parts = host.parts()
    for number, image in kept.values():
        assert hosts.read(parts, image) == content(number)
    for _, image in kept.values():
        hosts.remove(parts, image)
    assert host.is_clean()


def start(host: str) -> list[str]:
    """Be one of several processes that start on new disks at once."""
    parts = Host.from_json(host).parts()
    return [location.record.id for location in parts.store.locations]


def test_processes_that_start_at_once_agree_on_the_locations(
    tmp_path: pathlib.Path, processes: concurrent.futures.ProcessPoolExecutor
) -> None:
    for turn in range(5):
        host = Host(tmp_path / str(turn))
        ids = set(
            map(tuple, processes.map(start, [host.to_json()] * PROCESSES))
        )
        assert len(ids) == 1
        assert host.records('locations').keys() == set(*ids)


# The catalog is a file that several processes have open


def come_and_go(host: Host) -> None:
    """Let another process open the locations, upload, and end."""
    script = (
        'import sys\n'
        'from harness import host\n'
        'parts = host.Host.from_json(sys.argv[1]).parts()\n'
        'host.add(parts, b"by another process")\n'
        'parts.catalog.close()\n'
    )
    subprocess.run(
        [sys.executable, '-c', script, host.to_json()],
        check=True,
        cwd=pathlib.Path(__file__).parents[2],
    )


def another_backend(host: Host) -> factory.Parts:
    """What the second backend of a Glance does when Glance starts."""
    return Host(host.root, 'ssd:other:1', tmpl_store_cluster='other').parts()


@pytest.mark.parametrize('act', [Host.parts, another_backend])
def test_a_second_store_of_the_process_does_not_let_uploads_go_missing(
    host: Host, act: Callable[[Host], factory.Parts]
) -> None:
    parts = host.parts()
    first = hosts.add(parts, b'first')
    second_store = act(host)  # on the same catalog file
    # Whoever is the last to close the catalog takes its log away, and must
    # not take itself for the last while this process uses it.
    come_and_go(host)
    second = hosts.add(parts, b'second')
    assert second_store.catalog.locations.all()
    del second_store
    later = host.parts()
    assert hosts.read(later, first) == b'first'
    assert hosts.read(later, second) == b'second'
    assert host.disagreements() == []


def test_a_catalog_that_another_process_is_making_is_waited_for(
    host: Host,
) -> None:
    with (
        contextlib.closing(
            sqlite3.connect(host.root / 'catalog.sqlite', isolation_level=None)
        ) as other,
        concurrent.futures.ThreadPoolExecutor(1) as threads,
    ):
        other.execute('BEGIN IMMEDIATE')
        starting = threads.submit(host.parts)
        concurrent.futures.wait([starting], timeout=0.3)
        other.execute('ROLLBACK')
        parts = starting.result()
    assert len(parts.catalog.locations.all()) == len(host.paths)


def test_a_fork_after_the_start_is_as_good_as_a_new_process(
    host: Host,
) -> None:
    # uWSGI loads the application, and with it the store, before it forks.
    parts = host.parts()
    hosts.add(parts, b'before')
    pids = []
    for number in range(PROCESSES):
        pid = os.fork()
        if not pid:
            try:
                hosts.add(parts, content(number), f'image-{number}')
                os._exit(0)
            finally:
                os._exit(1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * PROCESSES
    for number in range(PROCESSES):
        image = hosts.url_of(parts, f'image-{number}')
        assert hosts.read(parts, image) == content(number)
    assert host.disagreements() == []


def test_the_connections_of_ended_threads_are_closed(host: Host) -> None:
    parts = host.parts()

    def connections() -> int:
        gc.collect()
        log = str(host.root / 'catalog.sqlite-wal')
        return [
            os.path.realpath(f'/proc/self/fd/{name}')
            for name in os.listdir('/proc/self/fd')
        ].count(log)

    hosts.add(parts, b'x')
    before = connections()
    assert before
    for number in range(20):
        thread = threading.Thread(
            target=hosts.add, args=(parts, b'x', f'image-{number}')
        )
        thread.start()
        thread.join()
    assert len(host.records('images')) == 21
    assert connections() == before
