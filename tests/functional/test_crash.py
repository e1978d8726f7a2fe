# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at every step, after every change, and anytime.

After each: complete or absent, no debris, the catalog and the disks agree,
and what was there before is whole.
"""

import dataclasses
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

import pytest

from harness import host as hosts
from harness.host import Host
from tmpl_glance_store import exceptions
from tmpl_glance_store.images import removal
from tmpl_glance_store.images import upload
from tmpl_glance_store.images import url as image_url

SIZE = 300_001
DATA = hosts.content(SIZE, 'data')
KEPT = hosts.content(100_000, 'kept')

#: Kills at random instants, and the seconds that they may take.
RANDOM_KILLS, RANDOM_SECONDS = 40, 15


class Children:
    """The process that forks those to be killed; see crash_child.py."""

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, '-m', 'tests.functional.crash_child'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=pathlib.Path(__file__).parents[2],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.communicate()

    def run(self, host: Host, act: str, **job: Any) -> dict[str, Any]:
        """Do a job; return what came of it."""
        return self._send({'host': host.to_json(), 'act': act, **job})

    def add(self, host: Host, image_id: str, **job: Any) -> dict[str, Any]:
        """Upload DATA in another process."""
        return self.run(
            host, 'add', image_id=image_id, size=SIZE, seed='data', **job
        )

    def signal(self, pid: int, number: int) -> dict[str, Any]:
        """Send a signal to one who stopped; wait what comes of it."""
        return self._send({'pid': pid, 'signal': number})

    def _send(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.write(json.dumps(job) + '\n')
        self._parent.stdin.flush()
        outcome: dict[str, Any] = {}
        # The child says how far it came, then its parent how it ended.
        while not outcome.keys() & {'killed', 'stopped'}:
            outcome.update(json.loads(self._parent.stdout.readline()))
        return outcome


@pytest.fixture(scope='module')
def children() -> Iterator[Children]:
    with Children() as children:
        yield children


@pytest.fixture(params=['one file system', 'two file systems'])
def host(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> Iterator[Host]:
    """A host on which each upload has to move, by rename or by copying."""
    if request.param == 'one file system':
        yield Host(tmp_path, 'staging:s:1', 'ssd:a:1')
        return
    memory = pathlib.Path('/dev/shm')
    if not memory.is_dir() or (memory.stat().st_dev == tmp_path.stat().st_dev):
        pytest.skip('/dev/shm is not a file system of its own')
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        (tmp_path / 'memory').symlink_to(directory)
        yield Host(tmp_path, 'staging:s:1', 'ssd:memory/a:1')


#: For what has nothing to move.
one_file_system = pytest.mark.parametrize(
    'host', ['one file system'], indirect=True
)


@dataclasses.dataclass
class Crashes:
    """A host with an image that no crash of others may hurt."""

    host: Host
    children: Children
    kept: image_url.ImageUrl

    def check(self, image_id: str) -> bool:
        """Restart, check everything, and tell whether the image is there."""
        for path in self.host.paths:
            for probe in path.glob('incoming/.probe-*'):
                os.utime(probe, (0, 0))  # too young to be taken for debris
        parts = self.host.parts()
        assert self.host.disagreements() == []
        assert self.host.quarantined() == []
        assert strays(self.host) == []
        assert hosts.read(parts, self.kept) == KEPT
        there = image_id in self.host.records('images')
        assert len(self.host.copies()) == 1 + there
        if there:
            assert hosts.read(parts, hosts.url_of(parts, image_id)) == DATA
        return there

    def check_retry(self, image_id: str) -> None:
        """Upload the image again, as Glance would; then delete it."""
        parts = self.host.parts()
        image = hosts.add(parts, DATA, image_id)
        assert hosts.read(parts, image) == DATA
        assert self.host.disagreements() == []
        hosts.remove(parts, image)
        assert [path.name for path in self.host.copies()] == [self.kept.digest]
        assert self.host.disagreements() == []


def strays(host: Host) -> list[pathlib.Path]:
    """Return the files that have no business in a location."""
    known = {
        'location.json',
        'history.json',
        'image',
        'pieces',
        'template.json',
    }
    return [
        found
        for path in host.paths
        for found in path.rglob('*')
        if found.is_file() and found.name not in known
    ]


@pytest.fixture
def crashes(host: Host, children: Children) -> Crashes:
    return Crashes(host, children, hosts.add(host.parts(), KEPT))


# At every named step


@pytest.mark.parametrize('step', upload.ADD_STEPS)
def test_an_upload_killed_at_a_step_is_complete_or_absent(
    crashes: Crashes, step: str
) -> None:
    outcome = crashes.children.add(crashes.host, 'image-1', kill_at=step)
    assert outcome == {'killed': True}
    assert crashes.check('image-1') == (step == 'bound')
    crashes.check_retry('image-1')


@pytest.mark.parametrize('step', upload.ADD_STEPS)
def test_an_upload_killed_at_a_step_can_be_retried_without_a_restart(
    crashes: Crashes, step: str
) -> None:
    survivor = crashes.host.parts()
    crashes.children.add(crashes.host, 'image-1', kill_at=step)
    image = hosts.add(survivor, DATA, 'image-1')
    assert hosts.read(survivor, image) == DATA
    assert crashes.check('image-1')


@one_file_system
@pytest.mark.parametrize('others', [0, 1])
@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_a_removal_killed_at_a_step_is_finished_by_the_next_start(
    crashes: Crashes, step: str, others: int
) -> None:
    parts = crashes.host.parts()
    image = hosts.add(parts, DATA, 'image-1')
    for n in range(others):
        hosts.add(parts, DATA, f'other-{n}')
    outcome = crashes.children.run(
        crashes.host, 'remove', kill_at=step, url=str(image)
    )
    parts = crashes.host.parts()
    with pytest.raises(exceptions.NotFound):
        hosts.read(parts, image)
    if others:
        # Not the last image: only its binding goes.
        assert outcome['killed'] == (step == 'unbound')
        assert hosts.read(parts, hosts.url_of(parts, 'other-0')) == DATA
        assert crashes.host.disagreements() == []
    else:
        assert outcome == {'killed': True}
        assert not crashes.check('image-1')
        crashes.check_retry('image-1')


# After every change


def changes(outcome: dict[str, Any]) -> range:
    """Return the numbers of the changes that a job has made."""
    assert not outcome['killed'], outcome
    print(f'{outcome["changes"]} changes')
    return range(1, outcome['changes'] + 1)


def test_an_upload_killed_after_any_change_is_complete_or_absent(
    crashes: Crashes,
) -> None:
    numbers = changes(crashes.children.add(crashes.host, 'image-0'))
    crashes.check_retry('image-0')
    seen = []
    for number in numbers:
        print(f'killed after change {number}')
        image_id = f'image-{number}'
        crashes.children.add(crashes.host, image_id, kill_after=number)
        seen.append(crashes.check(image_id))
        crashes.check_retry(image_id)
    assert seen == sorted(seen), 'what is there must not vanish'
    assert set(seen) == {False, True}


@one_file_system
def test_a_removal_killed_after_any_change_is_all_or_nothing(
    crashes: Crashes,
) -> None:
    def remove(image_id: str, **job: Any) -> dict[str, Any]:
        image = hosts.add(crashes.host.parts(), DATA, image_id)
        return crashes.children.run(
            crashes.host, 'remove', url=str(image), **job
        )

    seen = []
    for number in changes(remove('image-0')):
        print(f'killed after change {number}')
        image_id = f'image-{number}'
        remove(image_id, kill_after=number)
        seen.append(crashes.check(image_id))
        crashes.check_retry(image_id)
    assert seen == sorted(seen, reverse=True), 'what is gone must not return'
    assert set(seen) == {False, True}


@one_file_system
@pytest.mark.parametrize(
    'step', ['sealed', 'placed', 'unbound', 'copy forgotten', 'withdrawn']
)
def test_a_start_killed_after_any_change_is_made_good_by_the_next(
    crashes: Crashes, step: str
) -> None:
    def crash_and_start(**job: Any) -> dict[str, Any]:
        if step in upload.ADD_STEPS:
            crashes.children.add(crashes.host, 'image-1', kill_at=step)
        else:
            image = hosts.add(crashes.host.parts(), DATA, 'image-1')
            crashes.children.run(
                crashes.host, 'remove', kill_at=step, url=str(image)
            )
        return crashes.children.run(crashes.host, 'open', **job)

    for number in changes(crash_and_start()):
        print(f'killed after change {number}')
        crash_and_start(kill_after=number)
        assert not crashes.check('image-1')


# At any time


def test_an_upload_killed_at_any_time_is_complete_or_absent(
    crashes: Crashes,
) -> None:
    seed = int(os.environ.get('TMPL_CRASH_SEED', random.getrandbits(32)))
    print(f'repeat with TMPL_CRASH_SEED={seed}')
    draw = random.Random(seed)
    begin, longest, kills = time.monotonic(), 0.1, 0
    for number in range(RANDOM_KILLS):
        delay = draw.uniform(0, longest)
        image_id = f'image-{number}'
        outcome = crashes.children.add(crashes.host, image_id, kill_in=delay)
        print(f'{image_id} after {delay:.6f} s: {outcome}')
        assert 'error' not in outcome
        there = crashes.check(image_id)
        assert there or outcome['killed'], 'what is done stays done'
        crashes.check_retry(image_id)
        # Find out how long an upload takes here and now.
        longest *= 1.05 if outcome['killed'] else 0.8
        kills += outcome['killed']
        if time.monotonic() - begin > RANDOM_SECONDS:
            break
    assert kills


# While others go on


class Going:
    """An upload of DATA in this process, on a thread of its own."""

    def __init__(self, host: Host, image_id: str) -> None:
        self.hashed = threading.Event()
        self._parts = host.parts(
            lambda step: self.hashed.set() if step == 'hashed' else None
        )
        self._outcome: list[Any] = []
        self._thread = threading.Thread(target=self._run, args=(image_id,))
        self._thread.start()

    def _run(self, image_id: str) -> None:
        try:
            self._outcome.append(hosts.add(self._parts, DATA, image_id))
        except Exception as exc:
            self._outcome.append(exc)
        finally:
            self.hashed.set()

    def check(self) -> None:
        """Wait for the end; what was uploaded must be whole."""
        self._thread.join()
        (image,) = self._outcome
        assert isinstance(image, image_url.ImageUrl), image
        assert hosts.read(self._parts, image) == DATA


@pytest.mark.parametrize('step', upload.ADD_STEPS)
def test_an_upload_outlives_the_death_of_another_with_the_same_content(
    crashes: Crashes, step: str
) -> None:
    stopped = crashes.children.add(crashes.host, 'dying', stop_at=step)
    going = Going(crashes.host, 'living')
    going.hashed.wait()  # it may now wait for the other one's lock
    crashes.children.signal(stopped['stopped'], signal.SIGKILL)
    going.check()
    crashes.host.parts()
    assert crashes.host.disagreements() == []
    assert len(crashes.host.copies()) == 2
    assert ('dying' in crashes.host.records('images')) == (step == 'bound')


@one_file_system
@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_an_upload_outlives_the_death_of_a_removal_of_the_same_content(
    crashes: Crashes, step: str
) -> None:
    image = hosts.add(crashes.host.parts(), DATA)
    stopped = crashes.children.run(
        crashes.host, 'remove', stop_at=step, url=str(image)
    )
    going = Going(crashes.host, 'living')
    going.hashed.wait()
    crashes.children.signal(stopped['stopped'], signal.SIGKILL)
    going.check()
    crashes.host.parts()
    assert crashes.host.disagreements() == []
    assert len(crashes.host.copies()) == 2


@pytest.mark.parametrize('step', upload.ADD_STEPS)
def test_a_start_does_not_disturb_the_upload_of_another_process(
    crashes: Crashes, step: str
) -> None:
    stopped = crashes.children.add(crashes.host, 'image-1', stop_at=step)
    for _ in range(2):
        assert hosts.read(crashes.host.parts(), crashes.kept) == KEPT
    outcome = crashes.children.signal(stopped['stopped'], signal.SIGCONT)
    assert not outcome['killed']
    assert 'error' not in outcome
    assert crashes.check('image-1')


@one_file_system
@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_a_start_does_not_disturb_the_removal_of_another_process(
    crashes: Crashes, step: str
) -> None:
    image = hosts.add(crashes.host.parts(), DATA, 'image-1')
    stopped = crashes.children.run(
        crashes.host, 'remove', stop_at=step, url=str(image)
    )
    crashes.host.parts()
    outcome = crashes.children.signal(stopped['stopped'], signal.SIGCONT)
    assert not outcome['killed']
    assert 'error' not in outcome
    assert not crashes.check('image-1')
