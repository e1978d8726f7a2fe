# SPDX-License-Identifier: Apache-2.0
"""What becomes of a transfer, told by alerts that we make up."""

import errno
import pathlib
import queue
from collections.abc import Iterator
from typing import Any
from unittest import mock

import libtorrent as lt
import pytest

from harness import contents
from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import outcomes
from tmpl_glance_store.swarm import progress
from tmpl_glance_store.swarm import transfer as transfers

WHAT = contents.content(b'x' * 300_000)


class Bench:
    """Outcomes of one transfer, of which libtorrent knows."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.session = mock.Mock()
        self.handle = mock.Mock()
        self.told: queue.Queue[str] = queue.Queue()
        self.transfers = transfers.Transfers(self.session)
        self.outcomes = outcomes.Outcomes(self.transfers, self.told.put)
        self.transfer = transfers.Transfer(
            WHAT.template, str(directory), b'', progress.FETCHING, self.handle
        )
        self.transfers.put(self.transfer)

    def alert(self, kind: str, **fields: Any) -> None:
        """Let libtorrent say something of the transfer."""
        # Alerts cannot be made in Python.
        made = mock.Mock(handle=self.handle, **fields)
        reaction = outcomes._REACTIONS[getattr(lt, kind)]
        found = self.transfers.of(made.handle)
        assert found is self.transfer
        reaction(self.outcomes, found, made)

    @property
    def error(self) -> exceptions.TmplError | None:
        """The error that has ended the transfer, which was told."""
        assert self.told.get(timeout=10) == WHAT.digest
        assert self.transfer.state == progress.FAILED
        assert self.transfer.handle is None
        self.session.remove_torrent.assert_called_once_with(self.handle)
        return self.transfer.error


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Iterator[Bench]:
    """A transfer that is being fetched."""
    WHAT.write(tmp_path / 'copy').chmod(0o600)
    bench = Bench(tmp_path / 'copy')
    yield bench
    bench.outcomes.close()


def test_what_is_finished_is_flushed_to_the_disk(bench: Bench) -> None:
    bench.alert('torrent_finished_alert')
    bench.handle.flush_cache.assert_called_once_with()
    assert bench.told.empty()


def test_what_is_flushed_is_complete(bench: Bench) -> None:
    bench.handle.status.return_value.is_seeding = True
    bench.alert('cache_flushed_alert')
    assert bench.told.get(timeout=10) == WHAT.digest
    assert bench.transfer.state == progress.COMPLETE


def test_what_is_flushed_in_the_middle_goes_on(bench: Bench) -> None:
    bench.handle.status.return_value.is_seeding = False
    bench.alert('cache_flushed_alert')
    assert bench.transfer.state == progress.FETCHING


def test_a_file_that_cannot_be_finished_fails(bench: Bench) -> None:
    pathlib.Path(bench.transfer.image).unlink()
    bench.handle.status.return_value.is_seeding = True
    bench.alert('cache_flushed_alert')
    assert isinstance(bench.error, exceptions.TmplError)


@pytest.mark.parametrize(
    ('number', 'error'),
    [
        (errno.ENOSPC, exceptions.NoSpace),
        (errno.EROFS, exceptions.WriteDenied),
        (errno.EIO, exceptions.TmplError),
    ],
)
def test_an_error_of_the_file_tells_what_to_do(
    bench: Bench, number: int, error: type[Exception]
) -> None:
    code = mock.Mock()
    code.value.return_value = number
    code.category.return_value.name.return_value = 'system'
    bench.alert('file_error_alert', error=code, message=lambda: 'why')
    assert type(bench.error) is error


def test_an_error_of_another_kind_is_no_errno(bench: Bench) -> None:
    code = mock.Mock()
    code.value.return_value = errno.ENOSPC
    code.category.return_value.name.return_value = 'libtorrent'
    bench.alert('file_error_alert', error=code, message=lambda: 'why')
    assert type(bench.error) is exceptions.TmplError


@pytest.mark.parametrize('state', [progress.SEEDING, progress.COMPLETE])
def test_a_bad_piece_of_what_is_served_ends_it(
    bench: Bench, state: str
) -> None:
    bench.transfer.state = state
    bench.alert('hash_failed_alert', piece_index=1)
    assert isinstance(bench.error, exceptions.CorruptCopy)


def test_a_bad_piece_from_a_peer_does_not(bench: Bench) -> None:
    bench.alert('hash_failed_alert', piece_index=1)
    assert bench.transfer.state == progress.FETCHING
    assert bench.told.empty()


def test_a_seed_that_is_rejected_is_corrupt(bench: Bench) -> None:
    bench.alert('fastresume_rejected_alert', message=lambda: 'why')
    assert bench.transfer.state == progress.FETCHING
    bench.transfer.state = progress.SEEDING
    bench.alert('fastresume_rejected_alert', message=lambda: 'why')
    assert isinstance(bench.error, exceptions.CorruptCopy)


def test_who_was_banned_is_remembered(bench: Bench) -> None:
    bench.alert('peer_ban_alert', endpoint=('192.0.2.1', 5))
    assert bench.transfer.known().banned == ('192.0.2.1',)


def test_what_was_stopped_neither_fails_nor_completes(bench: Bench) -> None:
    bench.handle.status.return_value.is_seeding = True
    bench.transfers.forget(WHAT.digest)
    bench.transfers.forget(WHAT.digest)
    bench.outcomes.fail(bench.transfer, exceptions.TmplError('late'))
    bench.outcomes._complete(bench.transfer)
    assert bench.transfer.state == progress.FETCHING
    assert bench.told.empty()
    assert bench.transfers.of(bench.handle) is None


def test_work_that_goes_wrong_ends_the_transfer(bench: Bench) -> None:
    def work(transfer: transfers.Transfer) -> None:
        raise ValueError('a bug')

    bench.outcomes.submit(bench.transfer, work)
    assert str(bench.error) == 'a bug'


def test_an_alert_that_asks_for_nothing_is_passed_over(bench: Bench) -> None:
    bench.outcomes.react(mock.Mock(handle=bench.handle))
    assert bench.transfer.state == progress.FETCHING


def test_progress_is_measured_while_libtorrent_knows_it(bench: Bench) -> None:
    bench.handle.status.return_value = mock.Mock(
        total_done=100_000, download_payload_rate=1000, num_peers=3
    )
    now = transfers.measured(bench.transfer.known(), bench.handle)
    assert (now.done, now.peers, now.eta) == (100_000, 3, 200.0)
    bench.handle.status.side_effect = RuntimeError
    known = bench.transfer.known()
    assert transfers.measured(known, bench.handle) == known
