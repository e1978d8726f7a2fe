# SPDX-License-Identifier: Apache-2.0
"""The fake swarm keeps the contract."""

import queue
from collections.abc import Callable

import pytest

from tests.contract import swarm as suite
from tests.fakes import swarm


class TestFake(suite.SwarmContract):
    """The suite, on the fake."""

    @pytest.fixture(autouse=True)
    def _network(self) -> None:
        self._all = swarm.Network()

    def make(self, address: str, ended: Callable[[str], None]) -> suite.Node:
        """Return a fake swarm."""
        peer = (address, 1)
        return suite.Node(
            swarm.Swarm(self._all, peer, ended), peer, queue.Queue()
        )
