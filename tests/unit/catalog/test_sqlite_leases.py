# SPDX-License-Identifier: Apache-2.0
"""Leases on SQLite: measured by what no clock jump can move."""

import threading
import time

import pytest

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import sqlite
from tmpl_glance_store.catalog.contract import Compare
from tmpl_glance_store.catalog.contract import Delete
from tmpl_glance_store.catalog.contract import Put

HOURS = 5 * 3600


@pytest.fixture
def store(tmp_path):
    store = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/catalog.sqlite')
    yield store
    store.close()


@pytest.fixture
def clock(monkeypatch):
    """All clocks, in place of the module's."""

    class Clock:
        CLOCK_BOOTTIME = time.CLOCK_BOOTTIME
        #: Seconds since the machine came up, and the time of day.
        now, of_day = 1000.0, 1e9

        def clock_gettime(self, which):
            assert which == self.CLOCK_BOOTTIME
            return self.now

        def monotonic(self):
            return self.now

        def time(self):
            return self.of_day + self.now

    clock = Clock()
    monkeypatch.setattr(sqlite, 'time', clock)
    return clock


@pytest.fixture
def boot(monkeypatch):
    """Return a function that lets the machine boot again."""

    def boot(name):
        monkeypatch.setattr(sqlite, '_boot', lambda: name)

    boot('first')
    return boot


def test_a_lease_lives_until_its_time_is_over(store, clock):
    lease = store.grant(10)
    store.commit([], [Put('/a', b'1', lease)])
    clock.now += 9.9
    assert store.get('/a').value == b'1'
    assert store.keep_alive(lease)
    clock.now += 9.9
    assert [e.key for e in store.list('/')] == ['/a']
    clock.now += 0.1
    assert store.get('/a') is None
    assert store.list('/') == []
    assert not store.keep_alive(lease)


def test_an_expired_lease_is_swept_with_its_keys(store, clock):
    store.commit([], [Put('/a', b'1', store.grant(10))])
    clock.now += 10
    store.commit([], [Delete('/b')])
    count = 'SELECT (SELECT count(*) FROM entries), count(*) FROM leases'
    assert store._connection().execute(count).fetchone() == (0, 0)


def test_an_expired_key_counts_as_absent_before_it_is_swept(store, clock):
    store.commit([], [Put('/a', b'1', store.grant(10))])
    seen = store.get('/a').revision
    clock.now += 10
    assert not store.commit([Compare('/a', seen)], [])
    assert store.commit([Compare('/a', 0)], [Put('/a', b'2')])


def test_a_quiet_watch_waits_for_the_whole_timeout(monkeypatch, store, clock):
    watch = store.watch('/')
    waits = []

    def wait(_, seconds):
        waits.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(threading.Event, 'wait', wait)
    assert not watch.wait(1)
    assert sum(waits) == pytest.approx(1)
    assert len(waits) >= 5


@pytest.mark.parametrize('jump', [HOURS, -HOURS])
def test_a_clock_that_jumps_for_hours_ends_no_lease(store, clock, jump):
    lease = store.grant(10)
    store.commit([], [Put('/a', b'1', lease)])
    clock.of_day += jump
    clock.now += 9.9
    store.commit([], [Put('/b', b'1')])  # which sweeps what has expired
    assert store.get('/a')
    assert store.keep_alive(lease)
    # Nor does it let one live on.
    clock.of_day -= 2 * jump
    clock.now += 10
    assert store.get('/a') is None
    assert not store.keep_alive(lease)


def test_the_real_clock_goes_on_while_the_machine_sleeps():
    assert sqlite._now()[1] == pytest.approx(
        time.clock_gettime(time.CLOCK_BOOTTIME), abs=60
    )
    assert sqlite._now()[0] == sqlite._boot() != ''


@pytest.mark.parametrize('since', [0.0, 1001.0, 1e6])
def test_what_was_leased_before_this_boot_is_over(store, clock, boot, since):
    lease = store.grant(10)
    store.commit([], [Put('/a', b'1', lease), Put('/b', b'1')])
    watch = store.watch('/')
    boot('second')
    clock.now = since
    assert [each.key for each in store.list('/')] == ['/b']
    assert store.get('/a') is None
    assert watch.wait(0)
    assert watch.take() is None
    assert not store.keep_alive(lease)
    with pytest.raises(exceptions.NotFound):
        store.commit([], [Put('/a', b'1', lease)])
    assert store.commit([Compare('/a', 0)], [Put('/a', b'2', store.grant(5))])
    assert store.get('/a').value == b'2'
