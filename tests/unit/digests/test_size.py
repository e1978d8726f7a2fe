# SPDX-License-Identifier: Apache-2.0
"""The declared size of a stream."""

import itertools

import pytest

from tmpl_glance_store import digests
from tmpl_glance_store import exceptions


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
