# SPDX-License-Identifier: Apache-2.0
"""The pacing of passes, on a clock that goes on when the loop waits."""

import logging
from collections.abc import Callable

import pytest

from tests.unit.agent.virtual import Clock
from tests.unit.agent.virtual import Event
from tmpl_glance_store import exceptions
from tmpl_glance_store.agent import loop as agent_loop

INTERVAL = 60.0


class Bench:
    """A loop, and the passes that it made: (when, refresh).

    :param answers: what each pass returns, or raises; then the loop stops
    """

    def __init__(self, *answers: float | Exception | None) -> None:
        self.clock = Clock()
        self.woken = Event(self.clock)
        self.stopped = Event(self.clock)
        self.wake = agent_loop.Wake(self.woken)
        self.passes: list[tuple[float, bool]] = []
        self.failures = 0
        self.during: Callable[[], object] = lambda: None
        self._answers = list(answers)
        self.loop = agent_loop.Loop(
            make_pass=self._pass,
            on_failure=self._failed,
            interval=INTERVAL,
            wake=self.wake,
            stopped=self.stopped,
            clock=self.clock,
        )

    def _failed(self) -> None:
        self.failures += 1

    def _pass(self, refresh: bool) -> float | None:
        self.passes.append((self.clock.now - 1000, refresh))
        self.during()
        answer = self._answers.pop(0)
        if not self._answers:
            self.loop.stop()
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_the_first_pass_is_made_at_once_and_reads_the_catalog() -> None:
    bench = Bench(None)
    bench.loop.run()
    assert bench.passes == [(0, True)]


def test_without_news_a_pass_follows_after_the_interval() -> None:
    bench = Bench(None, None)
    bench.loop.run()
    assert bench.woken.waits == [INTERVAL]
    assert [refresh for _, refresh in bench.passes] == [True, False]


@pytest.mark.parametrize(
    ('later', 'wait'), [(5.0, 5.0), (2 * INTERVAL, INTERVAL)]
)
def test_a_pass_comes_earlier_if_time_changes_something(
    later: float, wait: float
) -> None:
    bench = Bench(later, None)
    bench.loop.run()
    assert bench.woken.waits == [wait]


def test_news_during_a_pass_wakes_the_next_after_a_moment() -> None:
    bench = Bench(None, None)
    bench.during = lambda: bench.wake.set(refresh=len(bench.passes) == 1)
    bench.loop.run()
    assert bench.woken.waits == []
    assert bench.passes == [(0, True), (pytest.approx(0.1), True)]


def test_news_of_other_kinds_does_not_read_the_catalog() -> None:
    bench = Bench(None, None)
    bench.during = bench.wake.set
    bench.loop.run()
    assert [refresh for _, refresh in bench.passes] == [True, False]


def test_a_pass_that_failed_is_made_again_soon_and_reads_the_catalog() -> None:
    bench = Bench(exceptions.Unavailable('away'), None)
    bench.loop.run()
    assert bench.passes == [(0, True), (2, True)]
    assert bench.failures == 1


def test_a_mistake_of_ours_does_not_end_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(RuntimeError('oops'), None)
    with caplog.at_level(logging.ERROR):
        bench.loop.run()
    assert len(bench.passes) == 2
    assert 'oops' in caplog.text


@pytest.mark.parametrize('kind', [exceptions.Unavailable, RuntimeError])
def test_the_same_failure_is_logged_once_until_a_pass_succeeds(
    caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    bench = Bench(
        kind('away'),
        kind('away'),
        kind('gone'),
        kind('away'),
        None,
        kind('away'),
    )
    with caplog.at_level(logging.WARNING, agent_loop.LOG.name):
        bench.loop.run()
    said = [
        str(each.exc_info[1] if each.exc_info else each.args[0])
        for each in caplog.records
    ]
    assert said == ['away', 'gone', 'away', 'away']
    assert bench.failures == 5


def test_health_tells_what_hinders_the_passes() -> None:
    bench = Bench(exceptions.Unavailable('the catalog is away'))
    assert bench.loop.healthy() == (False, 'no pass has been made yet')
    bench.loop.run()
    assert bench.loop.healthy() == (False, 'the catalog is away')


def test_a_node_is_well_until_no_pass_ends_for_long() -> None:
    bench = Bench(None)
    bench.loop.run()
    assert bench.loop.healthy() == (True, 'ok')
    bench.clock.now += 3 * INTERVAL + 60
    assert bench.loop.healthy()[0]
    bench.clock.now += 1
    assert bench.loop.healthy() == (False, 'the last pass ended 241 s ago')


def test_a_new_interval_counts_from_now_on() -> None:
    bench = Bench(None, None, None)
    bench.during = lambda: (
        bench.loop.set_interval(7) if len(bench.passes) == 1 else None
    )
    bench.loop.run()
    assert bench.woken.waits == [7]
