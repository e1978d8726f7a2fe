# SPDX-License-Identifier: Apache-2.0
"""The real swarm keeps the contract."""

import queue
from collections.abc import Callable

import pytest

pytest.importorskip('libtorrent')

from tests.contract import swarm as suite
from tmpl_glance_store.swarm import session


class TestSession(suite.SwarmContract):
    """The suite, on libtorrent."""

    def make(self, address: str, ended: Callable[[str], None]) -> suite.Node:
        """Return a libtorrent session on a free port."""
        swarm = session.Swarm(host=address, port=0, ended=ended)
        return suite.Node(swarm, (address, swarm.port), queue.Queue())
