# SPDX-License-Identifier: Apache-2.0
"""What is in flight at a time."""

import threading

from tests.unit.digests.support import MIB
from tests.unit.digests.support import SLOW
from tests.unit.digests.support import ingest
from tmpl_glance_store import digests


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
