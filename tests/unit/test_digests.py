# SPDX-License-Identifier: Apache-2.0
import hashlib
import itertools
import random
import threading
import time

import hypothesis
import pytest
import xxhash
from hypothesis import strategies as st

from tmpl_glance_store import digests
from tmpl_glance_store import exceptions

MIB = 1 << 20
SLOW = 60  # seconds that a test would wait for what should happen at once


class Boom(Exception):
    pass


def ingest(chunks, *consumers, algorithm='sha512', timeout=SLOW):
    return digests.ingest(chunks, algorithm, consumers, timeout)


def pieces_root(data):
    """Return BEP 52's root of *data*, not empty, as simple as can be."""
    row = [
        hashlib.sha256(data[i : i + 16384]).digest()
        for i in range(0, len(data), 16384)
    ]
    while len(row) & (len(row) - 1):
        row.append(bytes(32))
    while len(row) > 1:
        row = [
            hashlib.sha256(a + b).digest()
            for a, b in zip(row[::2], row[1::2], strict=True)
        ]
    return row[0].hex()


def lanes():
    return [t for t in threading.enumerate() if t.name == 'digests']


@pytest.fixture(autouse=True)
def no_lane_is_left():
    yield
    for lane in lanes():
        lane.join(SLOW)
    assert lanes() == []


@pytest.fixture
def short_queues():
    """Make a hundred bytes a long stream."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, 'BATCH', 8)
        patch.setattr(digests, 'DEPTH', 2)
        yield


@pytest.fixture
def stuck():
    """A consumer that hangs until the test is over."""
    event = threading.Event()
    yield lambda batch: event.wait(SLOW)
    event.set()


# All hashes of any stream


def assert_all_hashes(found, data):
    assert found.size == len(data)
    assert found.checksum == hashlib.md5(data).hexdigest()
    assert found.multihash == hashlib.sha512(data).hexdigest()
    assert found.position == xxhash.xxh3_64_intdigest(data)
    assert found.digest == (pieces_root(data) if data else '0' * 64)


@pytest.mark.parametrize('step', [1000, 65536, MIB, MIB + 1, 5 * MIB])
def test_all_four_hashes_are_right(step):
    data = random.Random(1).randbytes(3 * MIB + 12345)
    found = ingest(data[at : at + step] for at in range(0, len(data), step))
    assert_all_hashes(found, data)
    assert found.piece_size == 256 << 10
    assert len(found.pieces) == 13 * 32


def test_an_empty_stream_has_hashes_too():
    for chunks in ([], [b''], [b'', b'']):
        found = ingest(chunks)
        assert_all_hashes(found, b'')
        assert found.pieces == b''


def chunked(data):
    """Return a strategy for cuttings of *data* into chunks."""
    return st.lists(st.integers(0, len(data))).map(
        lambda cuts: [
            data[a:b]
            for a, b in itertools.pairwise([0, *sorted(cuts), len(data)])
        ]
    )


ANY_CHUNKS = st.binary(max_size=300).flatmap(chunked)
SETTINGS = hypothesis.settings(
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


@pytest.mark.usefixtures('short_queues')
@SETTINGS
@hypothesis.given(ANY_CHUNKS)
def test_the_chunks_of_the_stream_do_not_matter(chunks):
    taken = []
    found = ingest(iter(chunks), taken.append)
    assert_all_hashes(found, b''.join(chunks))
    assert b''.join(taken) == b''.join(chunks)


@pytest.mark.usefixtures('short_queues')
@SETTINGS
@hypothesis.given(ANY_CHUNKS)
def test_batches_are_of_one_size_but_the_last(chunks):
    data = b''.join(chunks)
    found = list(digests.batches(chunks))
    assert b''.join(found) == data
    assert [len(b) for b in found] == (
        [8] * (len(data) // 8) + [len(data) % 8] * (len(data) % 8 > 0)
    )


@pytest.mark.usefixtures('short_queues')
@pytest.mark.parametrize('view', [lambda b: b, memoryview])
def test_a_source_may_reuse_its_buffer(view):
    def source():
        buffer = bytearray(8)
        for number in range(50):
            buffer[:] = bytes([number]) * 8
            yield view(buffer)

    taken = []
    found = ingest(source(), taken.append)
    data = b''.join(bytes([number]) * 8 for number in range(50))
    assert_all_hashes(found, data)
    assert b''.join(taken) == data


@pytest.mark.parametrize('algorithm', ['sha256', 'sha1', 'blake2b', 'SHA512'])
def test_the_multihash_is_by_the_algorithm_asked_for(algorithm):
    assert (
        ingest([b'abc'], algorithm=algorithm).multihash
        == hashlib.new(algorithm, b'abc').hexdigest()
    )


def test_md5_as_the_multihash_is_computed_once(monkeypatch):
    made, new = [], hashlib.new
    monkeypatch.setattr(
        digests.hashlib,
        'new',
        lambda *args, **kwargs: made.append(args) or new(*args, **kwargs),
    )
    found = ingest([b'ab', b'c'], algorithm='md5')
    assert found.checksum == found.multihash == hashlib.md5(b'abc').hexdigest()
    assert made == [('md5',)]


@pytest.mark.parametrize(
    'algorithm', ['shake_128', 'shake_256', 'no-such', '', None, 512]
)
def test_an_unknown_algorithm_is_refused_before_anything_is_read(algorithm):
    stream = iter([b'abc'])
    with pytest.raises(
        exceptions.UnknownHashingAlgorithm, match=f'^{algorithm}$'
    ):
        ingest(stream, algorithm=algorithm)
    assert next(stream) == b'abc'


# Consumers


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


# A disk that hangs


@pytest.mark.parametrize('batches', [1, 3, 100])
@pytest.mark.usefixtures('short_queues')
def test_a_consumer_that_stands_still_is_reported(stuck, batches):
    stream = iter([b'x' * 8] * batches)
    with pytest.raises(exceptions.Stalled, match=r'0\.2 s.*write_timeout'):
        ingest(stream, stuck, timeout=0.2)
    assert batches - len(list(stream)) < 10


def test_what_stalled_may_be_tried_again():
    assert issubclass(exceptions.Stalled, exceptions.Unavailable)


def test_a_slow_consumer_that_makes_progress_has_not_stalled():
    pause = threading.Event()
    ingest(
        [bytes(8 * digests.BATCH)], lambda batch: pause.wait(0.25), timeout=1
    )


# Memory


def test_only_a_few_batches_are_in_flight():
    """The stream is much longer than what fits into the queues."""
    queued, exhausted, seen = threading.Event(), threading.Event(), []
    produced = 0

    def stream():
        nonlocal produced
        for _ in range(4 * digests.DEPTH):
            produced += 1
            if produced > digests.DEPTH:
                queued.set()
            yield bytes(digests.BATCH)
        exhausted.set()

    def consume(batch):
        if not seen:  # let the reader run ahead as far as it can
            queued.wait(SLOW)
            exhausted.wait(0.5)
        seen.append(produced)

    ingest(stream(), consume)
    assert len(seen) == produced == 4 * digests.DEPTH
    assert all(
        ahead - done <= digests.DEPTH + 2 for done, ahead in enumerate(seen)
    )
    assert digests.DEPTH * digests.BATCH <= 32 * MIB


# The declared size


def test_a_stream_of_the_declared_size_passes():
    for size in (3, 0):
        assert list(digests.checked([b'ab', b'', b'c'], size)) == [
            b'ab',
            b'',
            b'c',
        ]


def test_a_stream_that_ends_early_is_invalid():
    with pytest.raises(exceptions.Invalid, match=r'expected 4 .* got 3'):
        list(digests.checked([b'ab', b'c'], 4))
    with pytest.raises(exceptions.Invalid, match='got 0'):
        list(digests.checked([], 1))


def test_a_stream_that_goes_on_is_invalid_before_the_excess_is_passed_on():
    endless = itertools.repeat(b'ab')
    passed = []
    with pytest.raises(exceptions.Invalid, match=r'expected 5 .* got 6'):
        passed.extend(digests.checked(endless, 5))
    stream = digests.checked(itertools.repeat(b'ab'), 5)
    assert [next(stream), next(stream)] == [b'ab', b'ab']
    with pytest.raises(exceptions.Invalid):
        next(stream)


@pytest.mark.parametrize(
    'parts',
    [
        [],
        [('hole', 0)],
        [('hole', 3 * MIB)],
        [('data', MIB + 1)],
        [('hole', MIB), ('data', 5000), ('hole', 2 * MIB + 7)],
        [('data', 100), ('hole', 700_000), ('data', 2 * MIB)],
    ],
)
def test_a_file_has_the_digest_of_its_bytes_holes_or_not(tmp_path, parts):
    path, read = tmp_path / 'file', []
    with path.open('w+b') as file:
        for kind, length in parts:
            if kind == 'data':
                file.write(random.Random(length).randbytes(length))
            else:
                file.seek(length, 1)
        file.truncate(file.tell())
        file.flush()
        found = digests.digest_of(file.fileno(), read.append)
    data = path.read_bytes()
    assert found == ingest([data]).digest
    assert sum(read) <= len(data)


def test_holes_are_not_read(tmp_path):
    read = []
    with (tmp_path / 'file').open('w+b') as file:
        file.truncate(64 * MIB)
        file.seek(32 * MIB)
        file.write(b'data')
        file.flush()
        digests.digest_of(file.fileno(), read.append)
    if sum(read) == 64 * MIB:
        pytest.skip('this file system has no holes')
    assert sum(read) < MIB


def test_what_a_reader_raises_ends_the_reading(tmp_path):
    def stop(_):
        raise Boom

    (tmp_path / 'file').write_bytes(bytes(3 * MIB))
    with (tmp_path / 'file').open('rb') as file, pytest.raises(Boom):
        digests.digest_of(file.fileno(), stop)
