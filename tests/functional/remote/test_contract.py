# SPDX-License-Identifier: Apache-2.0
"""A connection by HTTP to a real listener keeps the contract."""

import pathlib

import pytest

from tests.contract import remote as suite
from tests.functional.remote.nodes import LONG
from tests.functional.remote.nodes import Node
from tmpl_glance_store import layout
from tmpl_glance_store.remote import http


class TestHttp(suite.ConnectionContract):
    """The suite, by HTTP."""

    @pytest.fixture(autouse=True)
    def _node(self, tmp_path: pathlib.Path):
        copy = layout.CopyPaths(
            layout.Paths(str(tmp_path)).copy(suite.WHAT.digest)
        )
        directory = pathlib.Path(copy.directory)
        directory.parent.mkdir(parents=True)
        suite.WHAT.write(directory)
        pathlib.Path(copy.pieces).write_bytes(suite.WHAT.pieces)
        with Node(tmp_path) as self._running:
            yield

    def connect(self) -> http.HttpConnection:
        """Return a connection to the node."""
        return http.HttpConnection(self._running.url, None, LONG)
