# SPDX-License-Identifier: Apache-2.0
"""Who gets the bytes besides the hashes."""

import random
import threading
import time

import pytest

from tests.unit.digests.support import MIB
from tests.unit.digests.support import SLOW
from tests.unit.digests.support import Boom
from tests.unit.digests.support import ingest
from tests.unit.digests.support import lanes


class Verifier:
    """Like cursive's: it cannot be fed by two threads at once."""

    def __init__(self):
        self.seen, self.threads = bytearray(), set()

    def update(self, data):
        self.threads.add(threading.get_ident())
        self.seen += data


@pytest.mark.usefixtures('short_queues')
def test_a_verifier_gets_every_byte_in_order():
    data = random.Random(1).randbytes(5000)
    verifiers = [Verifier(), Verifier()]
    ingest(
        [data[:1], data[1:4000], data[4000:]], *[v.update for v in verifiers]
    )
    assert [v.seen for v in verifiers] == [data, data]
    assert threading.get_ident() not in verifiers[0].threads


@pytest.mark.usefixtures('short_queues')
def test_a_consumer_is_never_called_by_two_threads_at_once():
    inside, met = threading.Lock(), []

    def consume(batch):
        alone = inside.acquire(blocking=False)
        time.sleep(0.001)
        met.append(not alone)
        if alone:
            inside.release()

    ingest([b'x' * 1000], consume)
    assert len(met) > 50
    assert not any(met)


def test_everything_is_consumed_when_it_returns():
    gate, seen = threading.Event(), []

    def consume(batch):
        gate.wait(SLOW)
        seen.append(batch)

    def stream():
        yield b'abc'
        gate.set()

    ingest(stream(), consume)
    assert seen == [b'abc']


def test_lanes_work_at_the_same_time():
    meeting = threading.Barrier(2)
    ingest([b'abc'], *[lambda batch: meeting.wait(SLOW)] * 2)
    assert not meeting.broken


@pytest.mark.usefixtures('short_queues')
def test_a_slow_consumer_does_not_keep_the_others_from_their_work():
    """Some batches ahead they wait for it, not before."""
    others, seen = threading.Event(), []

    def slow(batch):
        assert others.wait(SLOW)

    def fast(batch):
        seen.append(batch)
        if len(seen) > 1:
            others.set()

    ingest([b'x' * 100], slow, fast)
    assert b''.join(seen) == b'x' * 100


@pytest.mark.usefixtures('short_queues')
@pytest.mark.parametrize('length', [1, 7, 8, 17, 1000])
@pytest.mark.parametrize('error', [Boom, KeyboardInterrupt, SystemExit])
def test_what_a_consumer_raises_is_raised(length, error):
    def consume(batch):
        raise error('mine')

    with pytest.raises(error, match='mine'):
        ingest([b'x' * length], consume)


@pytest.mark.usefixtures('short_queues')
def test_what_a_consumer_raises_at_the_very_end_is_raised():
    def consume(batch):
        if batch == b'end':
            raise Boom

    with pytest.raises(Boom):
        ingest([b'x' * 80, b'end'], consume)


@pytest.mark.usefixtures('short_queues')
def test_a_consumer_that_raises_stops_the_stream_and_gets_no_more():
    failed, got, read = threading.Event(), [], 0

    def consume(batch):
        got.append(batch)
        failed.set()
        raise Boom

    def stream():
        nonlocal read
        for read in range(10_000):
            if read == 5:
                failed.wait(SLOW)
            yield b'x' * 8

    with pytest.raises(Boom):
        ingest(stream(), consume)
    assert len(got) == 1
    assert read < 100


@pytest.mark.usefixtures('short_queues')
@pytest.mark.parametrize('after', [0, 1, 5, 50])
def test_what_the_stream_raises_is_raised(after):
    def stream():
        yield from [b'x' * 8] * after
        raise Boom

    with pytest.raises(Boom):
        ingest(stream(), lambda batch: None)


def test_a_stream_that_raises_does_not_wait_for_a_consumer_that_hangs(stuck):
    def stream():
        yield b'x' * MIB
        raise Boom

    with pytest.raises(Boom):
        ingest(stream(), stuck)


@pytest.mark.usefixtures('short_queues')
def test_what_is_queued_is_dropped_when_the_stream_raises():
    gate, got = threading.Event(), []

    def consume(batch):
        got.append(batch)
        gate.wait(SLOW)

    def stream():
        yield from (b'x' * 8, b'y' * 8)
        raise Boom

    with pytest.raises(Boom):
        ingest(stream(), consume)
    gate.set()
    for lane in lanes():
        lane.join(SLOW)
    assert got in ([], [b'x' * 8])
