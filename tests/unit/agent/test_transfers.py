# SPDX-License-Identifier: Apache-2.0
"""The fetches of a node: how many, for how long, and when again."""

from harness.host import add
from tests.unit.agent.bench import DATA
from tests.unit.agent.bench import LONG
from tests.unit.agent.bench import Bench
from tmpl_glance_store import exceptions


def fail_once(bench: Bench) -> str:
    """Let a fetch fail; return the digest."""
    bench.swarm.error = exceptions.Unavailable('all peers lie')
    image = add(bench.there, DATA)
    bench.run()
    bench.swarm.error = None
    return image.digest


def test_a_fetch_that_failed_pauses_and_is_tried_again(bench: Bench) -> None:
    digest = fail_once(bench)
    bench.run()
    assert bench.swarm.fetched == [digest]
    assert bench.transfers.paused == {digest}
    assert bench.reconciler.next_change() == 10
    bench.clock.now += 9
    bench.run()
    assert bench.swarm.fetched == [digest]
    assert bench.reconciler.next_change() == 1
    bench.clock.now += 1
    bench.run()
    assert bench.swarm.fetched == [digest, digest]
    assert bench.holders(digest) == {'n1', 'n2'}


def test_one_that_failed_does_not_keep_others_waiting(bench: Bench) -> None:
    digest = fail_once(bench)
    other = add(bench.there, DATA[1:])
    bench.run()
    assert bench.swarm.fetched == [digest, other.digest]


def test_a_mistake_of_ours_pauses_the_fetch_too(bench: Bench) -> None:
    def oops() -> None:
        bench.swarm.before_end = lambda: None
        raise RuntimeError('oops')

    bench.swarm.before_end = oops
    digest = add(bench.there, DATA).digest
    bench.run()
    bench.run()
    assert bench.transfers.paused == {digest}
    assert bench.swarm.fetched == [digest]


def test_one_that_is_cancelled_does_not_pause(bench: Bench) -> None:
    bench.swarm.delivers = False
    digest = add(bench.there, DATA).digest
    bench.run()
    assert bench.swarm.began.wait(LONG)
    bench.transfers.close()
    bench.transfers.reap()
    assert bench.transfers.paused == frozenset()
    assert digest not in bench.transfers


def test_a_fetch_under_way_is_told_of_its_sources_in_each_pass(
    bench: Bench,
) -> None:
    bench.swarm.delivers = False
    digest = add(bench.there, DATA).digest
    bench.run()
    assert bench.reconciler.next_change() == 2
    bench.announce('n3rd', digest)
    bench.run()
    assert bench.swarm.peers[digest] == {('127.0.0.1', 2), ('127.0.0.1', 4)}
    (shown,) = bench.transfers.status()
    assert (shown.digest, shown.state) == (digest, 'fetching')
    bench.transfers.told(digest)
    bench.transfers.told('another')
    bench.transfers.close()


def test_an_empty_template_comes_without_a_swarm(bench: Bench) -> None:
    digest = add(bench.there, b'').digest
    bench.run()
    assert bench.holders(digest) == {'n1', 'n2'}
    assert bench.swarm.fetched == []
