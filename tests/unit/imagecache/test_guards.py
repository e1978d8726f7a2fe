# SPDX-License-Identifier: Apache-2.0
"""Boots that wait, and for how long."""

import threading

from tests.unit.imagecache.nova_locks import guards_of
from tests.unit.imagecache.nova_locks import is_free
from tests.unit.imagecache.nova_locks import wait_until_free
from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import Clock
from tmpl_glance_store.imagecache import guards


def test_a_guard_stays_until_it_is_let_go(tmp_path):
    own = guards_of(tmp_path)
    assert own.guard(NAME)
    assert own.guarded == {NAME}
    assert not is_free(tmp_path)
    own.let_go(NAME)
    own.let_go(NAME)
    assert is_free(tmp_path)


def test_a_guard_becomes_the_lock_of_who_publishes(tmp_path):
    own = guards_of(tmp_path)
    assert own.guard(NAME)
    with own.held(NAME) as ours:
        assert ours
        assert own.guarded == frozenset()
        assert not is_free(tmp_path)
    assert is_free(tmp_path)


def test_a_guard_ends_in_time_while_somebody_publishes(tmp_path):
    own = guards_of(tmp_path, timeout=0.01)
    with own.held('b' * 40):
        assert own.guard(NAME)
        wait_until_free(tmp_path)


def test_guards_take_one_thread_and_so_many_descriptors(tmp_path, monkeypatch):
    monkeypatch.setattr(guards, '_MAX_GUARDS', 3)
    own = guards_of(tmp_path)
    before = set(threading.enumerate())
    names = [f'{number:040}' for number in range(5)]
    assert [own.guard(name) for name in names] == [True] * 3 + [False] * 2
    assert len(set(threading.enumerate()) - before) == 1
    own.let_go(names[0])
    assert own.guard(names[4])
    own.close()
    assert own.guarded == frozenset()


def test_a_guard_ends_with_its_time(tmp_path):
    own = guards_of(tmp_path, timeout=0.01)
    assert own.guard(NAME)
    wait_until_free(tmp_path)
    assert own.guarded == frozenset()


def test_all_guards_end_together(tmp_path):
    own = guards_of(tmp_path)
    assert own.guard(NAME)
    own.close()
    assert is_free(tmp_path)


def test_a_guard_ends_exactly_when_its_time_is_over(tmp_path):
    clock = Clock()
    own = guards_of(tmp_path, timeout=60, clock=clock)
    assert own.guard(NAME)
    clock.now = 59.9
    own.expire()
    assert own.guarded == {NAME}
    clock.now = 60
    own.expire()
    assert own.guarded == frozenset()
    assert is_free(tmp_path)


def test_without_any_time_no_boot_waits(tmp_path):
    own = guards_of(tmp_path, timeout=0)
    assert not own.guard(NAME)
    assert own.guarded == frozenset()


def test_at_the_end_nobody_waits_any_more(tmp_path):
    own = guards_of(tmp_path)
    assert own.guard(NAME)
    own.close()
    assert not own.guard(NAME)
    assert is_free(tmp_path)
