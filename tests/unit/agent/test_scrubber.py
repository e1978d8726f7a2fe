# SPDX-License-Identifier: Apache-2.0
"""The scrubber: which copy is due, when, and at which rate."""

import shutil
import threading
import types

import pytest

from harness import host as hosts
from tests.conftest import Forbid
from tests.unit.agent.scrubbing import DATA
from tests.unit.agent.scrubbing import PERIOD
from tests.unit.agent.scrubbing import ScrubBench
from tests.unit.agent.scrubbing import unavailable
from tmpl_glance_store.agent import scrubber
from tmpl_glance_store.imagecache import proofs


def test_nothing_is_due_where_nothing_is(scrubs: ScrubBench) -> None:
    assert not scrubs.scrubber.scrub_next()


def test_a_copy_is_due_when_the_period_is_over(scrubs: ScrubBench) -> None:
    digest = scrubs.add()
    scrubs.pass_time(PERIOD - 1)
    assert not scrubs.scrubber.scrub_next()
    scrubs.pass_time(1)
    assert scrubs.scrubber.scrub_next()
    assert scrubs.proved_at(digest) == scrubs.clock.now
    assert (scrubs.proved, scrubs.bad) == ([len(DATA)], [])
    assert not scrubs.scrubber.scrub_next()


def test_a_copy_that_was_never_proved_is_due_at_once(
    scrubs: ScrubBench,
) -> None:
    digest = scrubs.add()
    (copy,) = scrubs.catalog.copies.of(digest)
    scrubs.catalog.copies.forget(digest, copy.location_id)
    scrubs.catalog.copies.adopt(digest, copy.location_id)
    assert scrubs.proved_at(digest) is None
    assert scrubs.scrubber.scrub_next()
    assert scrubs.proved_at(digest) == scrubs.clock.now


def test_the_copy_that_waits_longest_is_proved_first(
    scrubs: ScrubBench,
) -> None:
    digests = []
    for number in range(3):
        digests.append(scrubs.add(hosts.content(1000, number)))
        scrubs.pass_time(10)
    scrubs.pass_time()
    for digest in digests:
        scrubs.pass_time(1)
        assert scrubs.scrubber.scrub_next()
        assert scrubs.proved_at(digest) == scrubs.clock.now


def test_an_empty_template_is_proved(scrubs: ScrubBench) -> None:
    digest = scrubs.add(b'')
    scrubs.pass_time()
    assert scrubs.scrubber.scrub_next()
    assert scrubs.proved_at(digest) == scrubs.clock.now


def test_a_copy_that_cannot_be_read_does_not_keep_others_waiting(
    scrubs: ScrubBench, forbid: Forbid
) -> None:
    unreadable = scrubs.add()
    scrubs.pass_time(1)
    other = scrubs.add(DATA[1:])
    forbid(scrubs.host.copies(unreadable)[0] / 'image', 0)
    scrubs.pass_time()
    for _ in range(2):
        scrubs.scrubber.scrub_next()
    assert scrubs.proved_at(other) == scrubs.clock.now


def test_a_copy_that_is_gone_does_not_keep_others_waiting(
    scrubs: ScrubBench,
) -> None:
    gone = scrubs.add()
    scrubs.pass_time(1)
    other = scrubs.add(DATA[1:])
    shutil.rmtree(scrubs.host.copies(gone)[0])
    scrubs.pass_time()
    for _ in range(2):
        scrubs.scrubber.scrub_next()
    assert scrubs.proved_at(other) == scrubs.clock.now
    assert scrubs.host.quarantined() == []


def test_scrubbing_keeps_to_its_rate(scrubs: ScrubBench) -> None:
    digest = scrubs.add()
    waits: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return False

    scrubs.scrubber._stopped = Stopped()
    scrubs.scrubber.rate = 1_000_000
    scrubs.pass_time()
    assert scrubs.scrubber.scrub_next()
    assert sum(waits) == pytest.approx(len(DATA) / 1_000_000)
    assert max(waits) <= 2
    assert scrubs.proved_at(digest) == scrubs.clock.now


def test_one_that_is_stopped_in_the_middle_says_nothing(
    scrubs: ScrubBench,
) -> None:
    digest = scrubs.add()
    scrubs.pass_time()
    scrubs.scrubber.stop()
    before = scrubs.proved_at(digest)
    scrubs.scrubber.scrub_next()
    assert scrubs.proved_at(digest) == before
    assert (scrubs.proved, scrubs.bad) == ([], [])
    scrubs.scrubber.run()  # ends at once


def test_a_view_that_is_behind_has_nothing_proved_twice(
    scrubs: ScrubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrubs.add()
    scrubs.pass_time()
    old = scrubs.view.update().copies
    monkeypatch.setattr(scrubs.scrubber, '_copies', lambda: old)
    assert scrubs.scrubber.scrub_next()
    assert not scrubs.scrubber.scrub_next()
    scrubs.pass_time()
    assert scrubs.scrubber.scrub_next()


def test_looking_for_a_copy_that_is_due_asks_the_catalog_nothing(
    scrubs: ScrubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrubs.add()
    known = scrubs.view.update().copies
    monkeypatch.setattr(scrubs.scrubber, '_copies', lambda: known)
    for name in 'get', 'list', 'commit':
        monkeypatch.setattr(scrubs.catalog.records.store, name, unavailable)
    assert not scrubs.scrubber.scrub_next()


@pytest.mark.parametrize(('rate', 'proves'), [(0, False), (1 << 40, True)])
def test_a_rate_of_0_stops_scrubbing(
    scrubs: ScrubBench, rate: int, proves: bool
) -> None:
    scrubs.add()
    scrubs.pass_time()
    scrubs.scrubber.rate = rate

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout and timeout >= 1:  # the pause between two looks
                self.set()
            return self.is_set()

    scrubs.scrubber._stopped = Stopped()
    scrubs.scrubber.run()
    assert bool(scrubs.proved) == proves


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
        keeper=None,
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
