# SPDX-License-Identifier: Apache-2.0
"""The scrubber, on real copies and a catalog whose time is ours."""

import dataclasses
import shutil
import threading
import types

import pytest

from harness import agents
from harness import host as hosts
from harness.host import Host
from harness.host import add
from tests.conftest import Forbid
from tmpl_glance_store import exceptions
from tmpl_glance_store import repository
from tmpl_glance_store.agent import scrubber
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog import snapshot as view
from tmpl_glance_store.imagecache import proofs

DATA = hosts.content(3_000_000)
PERIOD = 1000.0


class Clock:
    """The time, which passes when we say so."""

    now = 1e9

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass
class Bench:
    """A scrubber, and what it has told."""

    host: Host
    repo: repository.Repository
    clock: Clock = dataclasses.field(default_factory=Clock)
    proved: list[int] = dataclasses.field(default_factory=list)
    bad: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        # The same catalog, but with our clock.
        self.repo.catalog._clock = self.clock
        self.view = view.View(self.repo.catalog)
        self.scrubber = scrubber.Scrubber(
            catalog=self.repo.catalog,
            store=self.repo.store,
            copies=lambda: self.view.update().copies,
            rate=1 << 40,
            period=PERIOD,
            on_proved=self.proved.append,
            on_bad=self.bad.append,
            clock=self.clock,
        )

    @property
    def catalog(self) -> catalog_domain.Catalog:
        """The catalog."""
        return self.repo.catalog

    def add(self, data: bytes = DATA) -> str:
        """Upload *data*; return its digest."""
        return add(self.repo, data).digest

    def proved_at(self, digest: str) -> float | None:
        """Return when the only copy of a template was proved last."""
        (copy,) = self.catalog.copies(digest)
        return copy.verified_at

    def pass_time(self, seconds: float = PERIOD) -> None:
        """Let time pass."""
        self.clock.now += seconds


@pytest.fixture
def bench(host: Host, repo: repository.Repository) -> Bench:
    """A scrubber beside a host with three disks."""
    return Bench(host, repo)


def test_nothing_is_due_where_nothing_is(bench: Bench) -> None:
    assert not bench.scrubber.scrub_next()


def test_a_copy_is_due_when_the_period_is_over(bench: Bench) -> None:
    digest = bench.add()
    bench.pass_time(PERIOD - 1)
    assert not bench.scrubber.scrub_next()
    bench.pass_time(1)
    assert bench.scrubber.scrub_next()
    assert bench.proved_at(digest) == bench.clock.now
    assert (bench.proved, bench.bad) == ([len(DATA)], [])
    assert not bench.scrubber.scrub_next()


def test_a_copy_that_was_never_proved_is_due_at_once(bench: Bench) -> None:
    digest = bench.add()
    (copy,) = bench.catalog.copies(digest)
    bench.catalog.forget_copy(digest, copy.location_id)
    bench.catalog.adopt(
        bench.catalog.template(digest).template, copy.location_id
    )
    assert bench.proved_at(digest) is None
    assert bench.scrubber.scrub_next()
    assert bench.proved_at(digest) == bench.clock.now


def test_the_copy_that_waits_longest_is_proved_first(bench: Bench) -> None:
    digests = []
    for number in range(3):
        digests.append(bench.add(hosts.content(1000, number)))
        bench.pass_time(10)
    bench.pass_time()
    for digest in digests:
        bench.pass_time(1)
        assert bench.scrubber.scrub_next()
        assert bench.proved_at(digest) == bench.clock.now


def test_an_empty_template_is_proved(bench: Bench) -> None:
    digest = bench.add(b'')
    bench.pass_time()
    assert bench.scrubber.scrub_next()
    assert bench.proved_at(digest) == bench.clock.now


def test_a_copy_that_has_rotted_goes_to_quarantine(bench: Bench) -> None:
    digest, other = bench.add(), bench.add(DATA[1:])
    agents.flip_bits(bench.host, digest)
    bench.pass_time()
    assert bench.scrubber.scrub_next() and bench.scrubber.scrub_next()
    assert bench.bad == [digest]
    assert bench.proved == [len(DATA) - 1]
    assert bench.host.copies(digest) == []
    assert bench.catalog.copies(digest) == []
    assert [path.name.split('.')[0] for path in bench.host.quarantined()] == [
        digest
    ]
    # Its image is still bound: another node may have a good copy.
    assert bench.catalog.template(digest).images
    assert bench.proved_at(other) == bench.clock.now


@pytest.mark.parametrize('file', ['image', 'pieces', 'template.json'])
def test_a_copy_of_which_a_file_is_missing_goes_to_quarantine(
    bench: Bench, file: str
) -> None:
    digest = bench.add()
    (copy,) = bench.host.copies(digest)
    (copy / file).unlink()
    bench.pass_time()
    assert bench.scrubber.scrub_next()
    assert bench.bad == [digest]
    assert len(bench.host.quarantined()) == 1
    assert not bench.scrubber.scrub_next()


@pytest.mark.parametrize('size', [0, len(DATA) - 1, len(DATA) + 1])
def test_a_copy_of_another_size_goes_to_quarantine(
    bench: Bench, size: int
) -> None:
    digest = bench.add()
    (copy,) = bench.host.copies(digest)
    (copy / 'image').chmod(0o600)
    with (copy / 'image').open('r+b') as file:
        file.truncate(size)
    bench.pass_time()
    assert bench.scrubber.scrub_next()
    assert bench.bad == [digest]


def test_a_copy_that_cannot_be_read_is_left_alone(
    bench: Bench, forbid: Forbid
) -> None:
    digest = bench.add()
    (copy,) = bench.host.copies(digest)
    forbid(copy / 'image', 0)
    bench.pass_time()
    before = bench.proved_at(digest)
    assert bench.scrubber.scrub_next()
    assert bench.proved_at(digest) == before
    assert (bench.proved, bench.bad) == ([], [])
    assert not bench.scrubber.scrub_next()  # not again and again
    forbid.lift()
    bench.pass_time()
    assert bench.scrubber.scrub_next()
    assert bench.proved == [len(DATA)]


def test_a_copy_that_cannot_be_read_does_not_keep_others_waiting(
    bench: Bench, forbid: Forbid
) -> None:
    unreadable = bench.add()
    bench.pass_time(1)
    other = bench.add(DATA[1:])
    forbid(bench.host.copies(unreadable)[0] / 'image', 0)
    bench.pass_time()
    for _ in range(2):
        bench.scrubber.scrub_next()
    assert bench.proved_at(other) == bench.clock.now


def test_a_copy_that_is_gone_does_not_keep_others_waiting(
    bench: Bench,
) -> None:
    gone = bench.add()
    bench.pass_time(1)
    other = bench.add(DATA[1:])
    shutil.rmtree(bench.host.copies(gone)[0])
    bench.pass_time()
    for _ in range(2):
        bench.scrubber.scrub_next()
    assert bench.proved_at(other) == bench.clock.now
    assert bench.host.quarantined() == []


def test_a_copy_on_a_disk_that_is_not_mounted_is_not_forgotten(
    bench: Bench,
) -> None:
    digest = bench.add()
    for path in bench.host.paths:
        path.rename(path.with_name(f'{path.name}.away'))
    bench.pass_time()
    bench.scrubber.scrub_next()
    assert len(bench.catalog.copies(digest)) == 1
    assert bench.bad == []


def test_a_template_that_goes_meanwhile_is_not_recorded_again(
    bench: Bench,
) -> None:
    image = add(bench.repo, DATA)
    location = next(
        each for each in bench.repo.store.locations if each.holds(image.digest)
    )
    bench.repo.remove(image.image_id, image.digest, image.token)
    bench.scrubber.scrub(image.digest, location)
    assert bench.host.is_clean()


def test_scrubbing_keeps_to_its_rate(bench: Bench) -> None:
    digest = bench.add()
    waits: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return False

    bench.scrubber._stopped = Stopped()
    bench.scrubber.rate = 1_000_000
    bench.pass_time()
    assert bench.scrubber.scrub_next()
    assert sum(waits) == pytest.approx(len(DATA) / 1_000_000)
    assert max(waits) <= 2
    assert bench.proved_at(digest) == bench.clock.now


def test_one_that_is_stopped_in_the_middle_says_nothing(bench: Bench) -> None:
    digest = bench.add()
    bench.pass_time()
    bench.scrubber.stop()
    before = bench.proved_at(digest)
    bench.scrubber.scrub_next()
    assert bench.proved_at(digest) == before
    assert (bench.proved, bench.bad) == ([], [])
    bench.scrubber.run()  # ends at once


def test_a_bad_copy_goes_to_quarantine_though_the_catalog_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = bench.add()
    agents.flip_bits(bench.host, digest)
    bench.pass_time()
    monkeypatch.setattr(bench.catalog, 'forget_copy', unavailable)
    with pytest.raises(exceptions.Unavailable):
        bench.scrubber.scrub_next()
    assert bench.bad == [digest]
    assert bench.host.copies(digest) == []
    assert len(bench.host.quarantined()) == 1


def test_a_view_that_is_behind_has_nothing_proved_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add()
    bench.pass_time()
    old = bench.view.update().copies
    monkeypatch.setattr(bench.scrubber, '_copies', lambda: old)
    assert bench.scrubber.scrub_next()
    assert not bench.scrubber.scrub_next()
    bench.pass_time()
    assert bench.scrubber.scrub_next()


def test_looking_for_a_copy_that_is_due_asks_the_catalog_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add()
    known = bench.view.update().copies
    monkeypatch.setattr(bench.scrubber, '_copies', lambda: known)
    for name in 'get', 'list', 'commit':
        monkeypatch.setattr(bench.catalog._store, name, unavailable)
    assert not bench.scrubber.scrub_next()


def unavailable(*_: object) -> None:
    """Be a catalog that is away."""
    raise exceptions.Unavailable('the catalog is away')


@pytest.mark.parametrize(('rate', 'scrubs'), [(0, False), (1 << 40, True)])
def test_a_rate_of_0_stops_scrubbing(
    bench: Bench, rate: int, scrubs: bool
) -> None:
    bench.add()
    bench.pass_time()
    bench.scrubber.rate = rate

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout and timeout >= 1:  # the pause between two looks
                self.set()
            return self.is_set()

    bench.scrubber._stopped = Stopped()
    bench.scrubber.run()
    assert bool(bench.proved) == scrubs


def test_a_file_that_cannot_be_noted_as_proved_does_not_end_the_scrubber(
    tmp_path,
):
    def tell(good):
        raise OSError('read-only')

    (tmp_path / 'base').write_bytes(b'x')
    proof = proofs.Proof(
        str(tmp_path / 'base'), hosts.digest_of(b'x'), 1, tell
    )
    told = []
    made = scrubber.Scrubber(
        catalog=None,
        store=types.SimpleNamespace(locations=[]),
        copies=dict,
        rate=1 << 40,
        period=0.01,
        on_proved=told.append,
        on_bad=told.append,
        files=lambda period: [proof],
    )
    assert made.scrub_next()
    assert told == []
