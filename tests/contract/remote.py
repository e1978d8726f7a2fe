# SPDX-License-Identifier: Apache-2.0
"""What every connection to a holder does.

See ``tmpl_glance_store/remote/contract.py``.
"""

import abc
import random
from collections.abc import Iterator

import pytest

from harness import contents
from tmpl_glance_store.remote import contract

WHAT = contents.content(random.Random(5).randbytes(700_000))
ABSENT = contents.content(b'nobody has this')


class ConnectionContract(abc.ABC):
    """Derive, say how to connect to who holds ``WHAT``, and pass."""

    @abc.abstractmethod
    def connect(self) -> contract.Connection:
        """Return a connection to a holder of ``WHAT`` alone."""

    @pytest.fixture
    def connection(self) -> Iterator[contract.Connection]:
        """A connection to a holder."""
        connection = self.connect()
        yield connection
        connection.close()

    def test_it_gives_the_piece_layer(
        self, connection: contract.Connection
    ) -> None:
        assert connection.layer(WHAT.template) == WHAT.pieces

    @pytest.mark.parametrize(
        ('start', 'end'), [(0, len(WHAT.data)), (300_000, 300_001)]
    )
    def test_it_gives_the_bytes_asked_for_in_any_steps(
        self, connection: contract.Connection, start: int, end: int
    ) -> None:
        connection.start(WHAT.template, start, end)
        data = bytearray(end - start)
        view = memoryview(data)
        for at in range(0, len(data), 70_000):
            connection.read_into(view[at : at + 70_000])
        assert data == WHAT.data[start:end]

    def test_it_serves_several_requests(
        self, connection: contract.Connection
    ) -> None:
        for at in 5, 0, 9:
            assert connection.layer(WHAT.template) == WHAT.pieces
            connection.start(WHAT.template, at, at + 4)
            data = bytearray(4)
            connection.read_into(memoryview(data))
            assert data == WHAT.data[at : at + 4]

    @pytest.mark.parametrize('absent', [ABSENT, contents.twin(WHAT)])
    def test_what_a_holder_has_not_is_a_failure(
        self, connection: contract.Connection, absent: contents.Content
    ) -> None:
        with pytest.raises(contract.HolderFailed):
            connection.start(absent.template, 0, 1)
        with pytest.raises(contract.HolderFailed):
            connection.layer(absent.template)

    def test_it_tells_the_status(
        self, connection: contract.Connection
    ) -> None:
        assert isinstance(connection.status(), dict)

    def test_it_may_be_closed_twice(
        self, connection: contract.Connection
    ) -> None:
        connection.layer(WHAT.template)
        connection.close()
        connection.close()
