# SPDX-License-Identifier: Apache-2.0
"""The connection in memory keeps the contract."""

from tests.contract import remote as suite
from tests.fakes import remote


class TestFake(suite.ConnectionContract):
    """The suite, on the fake."""

    def connect(self) -> remote.Connection:
        """Return a connection to a holder in memory."""
        what = suite.WHAT
        return remote.Connection(
            remote.Holder(
                what.data,
                what.pieces,
                what.template.piece_size,
                digest=what.digest,
            )
        )
