# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests here."""

import threading

import pytest

from tests.unit.digests.support import SLOW
from tests.unit.digests.support import lanes
from tmpl_glance_store import digests


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
