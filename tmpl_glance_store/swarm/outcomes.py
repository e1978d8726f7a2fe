# SPDX-License-Identifier: Apache-2.0
"""What becomes of transfers: libtorrent's alerts, and work on whole files."""

import logging
from collections.abc import Callable
from concurrent import futures
from typing import Any

import libtorrent as lt

from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import engine
from tmpl_glance_store.swarm import incoming
from tmpl_glance_store.swarm import progress
from tmpl_glance_store.swarm import transfer as transfers_package

LOG = logging.getLogger(__name__)

Transfer = transfers_package.Transfer


class Outcomes:
    """Moves transfers from one state to the next, and tells of their ends.

    :param ended: called with the digest of what is complete or has failed
    """

    def __init__(
        self,
        transfers: transfers_package.Transfers,
        ended: Callable[[str], None],
    ) -> None:
        self._transfers = transfers
        self._ended = ended
        self._disk = futures.ThreadPoolExecutor(2, 'swarm-disk')

    def close(self) -> None:
        """Begin no more work, and wait for none: a disk may hang."""
        self._disk.shutdown(wait=False, cancel_futures=True)

    def submit(
        self, transfer: Transfer, work: Callable[[Transfer], None]
    ) -> None:
        """Do what reads or writes the whole file, in a thread."""

        def run() -> None:
            try:
                work(transfer)
            except OSError as exc:
                self.fail(transfer, engine.disk_error(exc.errno, str(exc)))
            except Exception as exc:
                LOG.exception('swarm: %s', transfer.image)
                self.fail(transfer, exceptions.TmplError(str(exc)))

        self._disk.submit(run)

    def fail(self, transfer: Transfer, error: exceptions.TmplError) -> None:
        """End a transfer by an error, unless it has ended already."""
        with self._transfers.lock:
            if transfer.stop.is_set():
                return
            transfer.state, transfer.error = progress.FAILED, error
            self._transfers.end(transfer)
        LOG.error('swarm: %s: %s', transfer.image, error)
        self._ended(transfer.template.digest)

    def react(self, alert: lt.alert) -> None:
        """Do what an alert asks for; most ask for nothing."""
        reaction = _REACTIONS.get(type(alert))
        if reaction is not None and isinstance(alert, lt.torrent_alert):
            transfer = self._transfers.of(alert.handle)
            if transfer is not None:
                reaction(self, transfer, alert)

    def _complete(self, transfer: Transfer) -> None:
        """All is on disk: give back what zeros take there."""
        incoming.punch_zeros(transfer.image, transfer.stop)
        with self._transfers.lock:
            if transfer.stop.is_set():
                return
            transfer.state = progress.COMPLETE
        self._ended(transfer.template.digest)

    def _on_finished(self, transfer: Transfer, _: lt.alert) -> None:
        # Proved in memory, but some of it may not be in the file yet.
        with self._transfers.lock:
            if (
                transfer.state == progress.FETCHING
                and transfer.handle is not None
            ):
                transfer.handle.flush_cache()

    def _on_flushed(self, transfer: Transfer, _: lt.alert) -> None:
        with self._transfers.lock:
            if (
                transfer.state == progress.FETCHING
                and transfer.handle is not None
                and transfer.handle.status(0).is_seeding
            ):
                transfer.state = progress.FINISHING
                self.submit(transfer, self._complete)

    def _on_file_error(
        self, transfer: Transfer, alert: lt.file_error_alert
    ) -> None:
        self.fail(
            transfer,
            engine.disk_error(
                engine.system_errno(alert.error), alert.message()
            ),
        )

    def _on_rejected(
        self, transfer: Transfer, alert: lt.fastresume_rejected_alert
    ) -> None:
        # The file to seed is not there, or not of its size.
        if transfer.state == progress.SEEDING:
            self.fail(transfer, exceptions.CorruptCopy(alert.message()))

    def _on_hash_failed(
        self, transfer: Transfer, alert: lt.hash_failed_alert
    ) -> None:
        # While fetching, this is about what a peer sent: it is asked for
        # again. What we seed was believed to be good.
        if transfer.state in (progress.SEEDING, progress.COMPLETE):
            self.fail(
                transfer,
                exceptions.CorruptCopy(
                    f'{transfer.image}: piece {alert.piece_index} is not what '
                    'its hash says'
                ),
            )

    def _on_peer_ban(
        self, transfer: Transfer, alert: lt.peer_ban_alert
    ) -> None:
        LOG.warning(
            'swarm: %s: banned %s: it sent bad data',
            transfer.image,
            alert.endpoint[0],
        )
        with self._transfers.lock:
            transfer.banned.add(alert.endpoint[0])


_REACTIONS: dict[type, Callable[[Outcomes, Transfer, Any], None]] = {
    lt.torrent_finished_alert: Outcomes._on_finished,
    lt.cache_flushed_alert: Outcomes._on_flushed,
    lt.file_error_alert: Outcomes._on_file_error,
    lt.fastresume_rejected_alert: Outcomes._on_rejected,
    lt.hash_failed_alert: Outcomes._on_hash_failed,
    lt.peer_ban_alert: Outcomes._on_peer_ban,
}
