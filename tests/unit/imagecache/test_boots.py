# SPDX-License-Identifier: Apache-2.0
"""Which boots wait: those of base files that come, and each but once."""

import pytest

from tests.unit.imagecache.nova_locks import guards_of
from tests.unit.imagecache.parts import Clock
from tmpl_glance_store import exceptions
from tmpl_glance_store import imagecache
from tmpl_glance_store.imagecache import boots
from tmpl_glance_store.imagecache import states
from tmpl_glance_store.imagecache.states import State

A, B = (imagecache.base_name(each) for each in 'ab')


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def guards(tmp_path, clock):
    return guards_of(tmp_path, timeout=60, clock=clock)


@pytest.fixture
def waiting(tmp_path, guards):
    return boots.Boots(str(tmp_path), guards)


def coming(*images, state=states.ARRIVING):
    return [State(each, 'digest', state) for each in images]


@pytest.mark.parametrize('state', states.STATES)
def test_boots_wait_for_what_comes_and_for_nothing_else(
    waiting, guards, state
):
    waiting.settle(coming('a', state=state), 'ab')
    waits = state in (states.ARRIVING, states.PREPARING)
    assert guards.guarded == ({A} if waits else set())


def test_boots_go_on_when_nothing_comes_any_more(waiting, guards):
    waiting.settle(coming('a', 'b'), 'ab')
    waiting.settle(coming('b'), 'ab')
    assert guards.guarded == {B}


def test_boots_do_not_wait_for_what_is_there(tmp_path, waiting, guards):
    (tmp_path / A).touch()
    waiting.settle(coming('a'), 'ab')
    assert guards.guarded == set()


def test_boots_wait_once_until_the_base_file_was_there(
    tmp_path, waiting, guards, clock
):
    waiting.settle(coming('a'), 'ab')
    clock.now = 60
    guards.expire()
    waiting.settle(coming('a'), 'ab')
    assert guards.guarded == set()
    (tmp_path / A).touch()
    waiting.settle([], 'ab')
    (tmp_path / A).unlink()
    waiting.settle(coming('a'), 'ab')
    assert guards.guarded == {A}


def test_an_image_that_comes_back_may_be_waited_for_again(
    waiting, guards, clock
):
    waiting.settle(coming('a'), 'ab')
    clock.now = 60
    guards.expire()
    waiting.settle([], 'b')
    waiting.settle(coming('a'), 'ab')
    assert guards.guarded == {A}


@pytest.mark.parametrize(
    ('failed', 'problem', 'expected'),
    [
        ((), None, (states.ARRIVING, '')),
        (('t',), None, (states.FAILED, 'its transfer failed')),
        ((), 'no disk', (states.FAILED, 'no disk')),
        (('t',), 'no disk', (states.FAILED, 'no disk')),
    ],
)
def test_what_is_on_its_way_is_expected(waiting, failed, problem, expected):
    (found,) = waiting.expect({'t': ['a']}, failed, problem)
    assert found == State('a', 't', *expected)


def test_what_has_a_base_file_is_not_expected(tmp_path, waiting):
    (tmp_path / A).touch()
    assert not list(waiting.expect({'t': ['a']}, (), None))


def test_after_a_failed_transfer_nobody_waits_for_the_next(waiting, guards):
    list(waiting.expect({'t': ['a']}, {'t'}, None))
    waiting.settle([], 'ab')
    waiting.settle(coming('a'), 'ab')
    assert guards.guarded == set()


def test_locks_that_cannot_be_used_are_told_of_once(
    waiting, guards, monkeypatch, caplog
):
    def denied(name):
        raise exceptions.WriteDenied('not our directory')

    monkeypatch.setattr(guards, 'guard', denied)
    for _ in range(2):
        waiting.settle(coming('a', 'b'), 'ab')
    assert caplog.text.count('Boots cannot wait: not our directory') == 1
