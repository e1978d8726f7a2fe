# SPDX-License-Identifier: Apache-2.0
"""A consumer that stands still, as a disk that hangs."""

import threading

import pytest

from tests.unit.digests.support import ingest
from tmpl_glance_store import digests
from tmpl_glance_store import exceptions


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
