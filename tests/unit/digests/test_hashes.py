# SPDX-License-Identifier: Apache-2.0
"""All hashes of any stream."""

import dataclasses
import hashlib
import itertools
import random

import hypothesis
import pytest
import xxhash
from hypothesis import strategies as st

from tests.unit.digests.support import MIB
from tests.unit.digests.support import digest
from tests.unit.digests.support import ingest
from tests.unit.digests.support import pieces_root
from tests.unit.digests.support import same_root
from tmpl_glance_store import digests
from tmpl_glance_store import exceptions

SEED = (1 << 64) - 1  # the greatest


def assert_all_hashes(found, data):
    assert found.size == len(data)
    assert found.checksum == hashlib.md5(data).hexdigest()
    assert found.multihash == hashlib.sha512(data).hexdigest()
    assert found.position == xxhash.xxh3_64_intdigest(data)
    assert found.root == pieces_root(data)
    assert found.digest == digest(data)


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


def test_two_contents_with_one_root_have_two_digests():
    first, second = (ingest([data]) for data in same_root())
    assert first.root == second.root
    assert first.digest != second.digest


def test_a_seed_changes_the_position_and_nothing_else():
    data = random.Random(1).randbytes(300_000)
    plain, seeded, other = (ingest([data], seed=n) for n in (0, 1, SEED))
    assert plain == ingest([data])
    assert other.position == xxhash.xxh3_64_intdigest(data, seed=SEED)
    assert len({plain.position, seeded.position, other.position}) == 3
    for each in seeded, other:
        assert dataclasses.replace(each, position=plain.position) == plain


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
