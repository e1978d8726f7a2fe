# SPDX-License-Identifier: Apache-2.0
"""What wakes the loop from outside."""

import threading

from tests.unit.agent.virtual import Clock
from tests.unit.agent.virtual import Event
from tmpl_glance_store import exceptions
from tmpl_glance_store.agent import loop
from tmpl_glance_store.agent import watch


class View:
    """A view that has the news that it is given, and then stops the watch."""

    def __init__(
        self, stopped: threading.Event, *news: bool | Exception
    ) -> None:
        self._stopped = stopped
        self._news = iter(news)
        self.closed = False

    def wait(self, timeout: float) -> bool:
        """Give the next piece of news."""
        news = next(self._news, None)
        if news is None:
            self._stopped.set()
            return False
        if isinstance(news, Exception):
            raise news
        return news

    def close(self) -> None:
        """Take note of it."""
        self.closed = True


class Bench:
    """A watch that has run, and what it told."""

    def __init__(self, *news: bool | Exception, began: bool = False) -> None:
        self.looks = 0
        self.stopped = Event(Clock())
        self.view = View(self.stopped, *news)
        self.wake = loop.Wake()
        self.wake.take()  # the first pass
        watch.Watch(
            view=self.view,
            wake=self.wake,
            looked=self._looked,
            downloads_began=lambda: began,
        ).run(self.stopped)

    def _looked(self) -> None:
        self.looks += 1

    @property
    def woken(self) -> bool:
        """Whether the loop was woken."""
        return self.wake._event.is_set()


def test_a_change_of_the_catalog_wakes_the_loop_to_read_it() -> None:
    bench = Bench(True)
    assert bench.woken and bench.wake.take()


def test_without_news_the_loop_sleeps_on() -> None:
    bench = Bench(False, False)
    assert not bench.woken
    assert bench.looks == 3


def test_a_download_of_nova_wakes_the_loop_and_reads_no_catalog() -> None:
    bench = Bench(False, began=True)
    assert bench.woken and not bench.wake.take()


def test_a_watch_that_breaks_is_taken_up_again() -> None:
    bench = Bench(exceptions.Unavailable('away'), True)
    assert bench.stopped.waits == [2]
    assert bench.woken


def test_the_view_is_closed_at_the_end() -> None:
    assert Bench().view.closed
