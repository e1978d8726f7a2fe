# SPDX-License-Identifier: Apache-2.0
"""Members that are asked in turn; they are names here, and time is ours."""

import dataclasses
import json
from collections.abc import Callable

import pytest
from etcd3gw import exceptions as etcd_exceptions

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog.etcd import failures
from tmpl_glance_store.catalog.etcd import members as etcd_members
from tmpl_glance_store.catalog.etcd import url as etcd_url

ENDPOINTS = [etcd_url.Endpoint('http', name, 1) for name in 'abc']


def failure(
    endpoint: etcd_url.Endpoint, code: int = 14, message: str = 'trouble'
) -> failures.Failure:
    """Return what a member says that cannot, or will not."""
    said = json.dumps({'code': code, 'message': message})
    return failures.Failure(
        endpoint, etcd_exceptions.Etcd3Exception(said, 'Bad')
    )


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclasses.dataclass
class Bench:
    """The members, who was asked, and what was told of failures."""

    members: etcd_members.Members
    asked: list[str]
    told: list[failures.Failure]
    clock: Clock

    def ask(
        self, says: Callable[[str], failures.Failure | None], **how: bool
    ) -> str:
        """Ask; *says* is why a member does not answer."""

        def question(endpoint: etcd_url.Endpoint) -> str:
            self.asked.append(endpoint.host)
            if failed := says(endpoint.host):
                raise failed
            return endpoint.host

        return self.members.ask(question, **how)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Three members, of which the first is preferred."""
    clock = Clock()
    monkeypatch.setattr(etcd_members, 'time', clock)
    monkeypatch.setattr(etcd_members._RANDOM, 'randrange', lambda _: 0)
    told: list[failures.Failure] = []
    return Bench(etcd_members.Members(ENDPOINTS, told.append), [], told, clock)


def lost(*names: str) -> Callable[[str], failures.Failure | None]:
    """Let these members be in trouble."""
    return lambda host: (
        failure(etcd_url.Endpoint('http', host, 1)) if host in names else None
    )


def test_one_member_is_asked_as_long_as_it_answers(bench: Bench) -> None:
    assert [bench.ask(lost()) for _ in range(3)] == ['a', 'a', 'a']
    assert bench.told == []


def test_a_member_in_trouble_is_passed_over_from_now_on(bench: Bench) -> None:
    assert bench.ask(lost('a')) == 'b'
    assert bench.ask(lost()) == 'b'
    assert bench.asked == ['a', 'b', 'b']
    assert [each.endpoint.host for each in bench.told] == ['a']


def test_the_turn_goes_round(bench: Bench) -> None:
    assert bench.ask(lost('a', 'b')) == 'c'
    assert bench.ask(lost('b', 'c')) == 'a'


def test_what_one_member_refuses_is_not_asked_of_the_next(
    bench: Bench,
) -> None:
    with pytest.raises(failures.Failure) as caught:
        bench.ask(lambda _: failure(ENDPOINTS[0], code=5))
    assert caught.value.code == failures.NOT_FOUND
    assert bench.asked == ['a']


def test_what_may_have_been_done_is_not_repeated(bench: Bench) -> None:
    with pytest.raises(failures.Failure):
        bench.ask(lost('a'), repeatable=False)
    assert bench.asked == ['a']
    assert bench.ask(lost(), repeatable=False) == 'b'


def test_what_was_certainly_not_done_is_repeated(bench: Bench) -> None:
    def says(host: str) -> failures.Failure | None:
        if host == 'c':
            return None
        return failure(ENDPOINTS[0], message='etcdserver: no leader')

    assert bench.ask(says, repeatable=False) == 'c'


def test_without_any_member_all_reasons_are_told_at_once(
    bench: Bench,
) -> None:
    with pytest.raises(exceptions.Unavailable, match=r'trouble.*trouble'):
        bench.ask(lost('a', 'b', 'c'))
    assert bench.asked == ['a', 'b', 'c']
    assert bench.clock.now == 0


def test_an_election_is_waited_for(bench: Bench) -> None:
    def says(host: str) -> failures.Failure | None:
        if bench.clock.now > 1:
            return None
        return failure(ENDPOINTS[0], message='etcdserver: no leader')

    assert bench.ask(says) in 'abc'
    assert 1 < bench.clock.now < 2


def test_an_election_is_not_waited_for_without_end(bench: Bench) -> None:
    with pytest.raises(failures.AllFailed):
        bench.ask(
            lambda _: failure(ENDPOINTS[0], message='etcdserver: no leader')
        )
    assert 5 < bench.clock.now < 6
