# SPDX-License-Identifier: Apache-2.0
"""What each client may have, and what is said of those who want more."""

import logging

import pytest

from tests.unit.agent.virtual import Clock
from tmpl_glance_store.agent.http import complaints
from tmpl_glance_store.agent.http import shares
from tmpl_glance_store.agent.http import strangers


def taken(places: shares.Shares, client: str) -> int:
    """Take all that there is for a client, and return how much that was."""
    count = 0
    while places.take(client):
        count += 1
    return count


def test_one_client_gets_half() -> None:
    assert taken(shares.Shares(60, 30), 'a') == 30


def test_greedy_clients_leave_less_and_less_but_something() -> None:
    places = shares.Shares(60, 30)
    assert [taken(places, client) for client in 'abcd'] == [30, 15, 8, 4]
    assert taken(places, 'another') > 0


def test_what_is_given_back_can_be_taken_again() -> None:
    places = shares.Shares(2, 1)
    assert places.take('a')
    assert not places.take('a')
    places.give('a')
    assert places.take('a')


def test_the_last_place_is_for_who_has_none() -> None:
    places = shares.Shares(1, 1)
    assert places.take('a')
    assert not places.take('b')


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def doors(clock: Clock) -> strangers.Strangers:
    return strangers.Strangers(total=4, pending=2, failures=3, clock=clock)


def test_handshakes_of_one_address_are_bounded(
    doors: strangers.Strangers,
) -> None:
    assert [doors.enter('192.0.2.1') for _ in range(3)] == [True, True, False]
    assert doors.enter('192.0.2.2')
    doors.leave('192.0.2.1', proved=True)
    assert doors.enter('192.0.2.1')


def test_handshakes_of_all_are_bounded(doors: strangers.Strangers) -> None:
    assert all(doors.enter(f'192.0.2.{n}') for n in range(4))
    assert not doors.enter('192.0.2.9')


def test_who_fails_too_often_is_refused_for_a_while(
    doors: strangers.Strangers, clock: Clock
) -> None:
    for _ in range(3):
        assert doors.enter('192.0.2.1')
        doors.leave('192.0.2.1', proved=False)
    assert not doors.enter('192.0.2.1')
    assert doors.enter('192.0.2.2')
    clock.now += 1
    assert doors.enter('192.0.2.1')


def test_who_proves_himself_is_never_refused(
    doors: strangers.Strangers,
) -> None:
    for _ in range(100):
        assert doors.enter('192.0.2.1')
        doors.leave('192.0.2.1', proved=True)


def test_addresses_are_forgotten(
    doors: strangers.Strangers, clock: Clock
) -> None:
    doors.enter('192.0.2.1')
    doors.enter('192.0.2.2')
    doors.leave('192.0.2.2', proved=False)
    doors.forgive()
    assert set(doors._origins) == {'192.0.2.1', '192.0.2.2'}
    clock.now += 1
    doors.forgive()
    assert set(doors._origins) == {'192.0.2.1'}


@pytest.mark.parametrize(
    ('address', 'found'),
    [
        ('192.0.2.1', '192.0.2.1'),
        ('2001:db8:0:1:ffff::1', '2001:db8:0:1::/64'),
        ('fe80::1%eth0', 'fe80::/64'),
        ('a client', 'a client'),
        ('', ''),
    ],
)
def test_a_host_answers_for_all_its_addresses(
    address: str, found: str
) -> None:
    assert strangers.origin(address) == found


def test_a_complaint_is_told_once_a_minute_with_a_count(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    told = complaints.Complaints(clock)
    for number in range(900):
        told.add('192.0.2.1', 'it is slow', f'by {number}')
        clock.now += 0.01
        told.sum_up()
    assert caplog.messages == [
        'The API refuses 192.0.2.1: it is slow: by 0',
    ]
    clock.now += 60
    told.sum_up()
    told.sum_up()
    assert caplog.messages[1:] == [
        'The API refused 192.0.2.1 899 times more: it is slow'
    ]
    clock.now += 60
    told.sum_up()
    told.add('192.0.2.1', 'it is slow')
    assert caplog.messages[2:] == ['The API refuses 192.0.2.1: it is slow']


def test_other_addresses_and_reasons_are_told_of_but_not_without_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    told = complaints.Complaints(clock)
    told.add('192.0.2.1', 'one')
    told.add('192.0.2.1', 'two')
    for number in range(1000):
        told.add(f'host{number}', 'one')
    assert len(caplog.messages) == complaints._MOST + 1
    assert caplog.messages[-1] == 'The API refuses other clients: one'
