# SPDX-License-Identifier: Apache-2.0
"""The one libtorrent session of a node: fetches and seeds templates."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent import futures

import libtorrent as lt

from tmpl_glance_store import exceptions
from tmpl_glance_store import layout
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls as tls_files
from tmpl_glance_store.swarm import engine
from tmpl_glance_store.swarm import identity
from tmpl_glance_store.swarm import incoming
from tmpl_glance_store.swarm import metainfo
from tmpl_glance_store.swarm.progress import COMPLETE
from tmpl_glance_store.swarm.progress import FAILED
from tmpl_glance_store.swarm.progress import FETCHING
from tmpl_glance_store.swarm.progress import FINISHING
from tmpl_glance_store.swarm.progress import PROVING
from tmpl_glance_store.swarm.progress import SEEDING
from tmpl_glance_store.swarm.progress import Progress

LOG = logging.getLogger(__name__)

Peer = tuple[str, int]

_COUNT = 1  # seconds between two looks at the traffic


@dataclasses.dataclass(slots=True, eq=False)
class _Transfer:
    """What the session knows of one template."""

    template: objects.Template
    directory: str
    metainfo: bytes
    state: str
    handle: lt.torrent_handle | None = None
    error: exceptions.TmplError | None = None
    peers: set[Peer] = dataclasses.field(default_factory=set)
    banned: set[str] = dataclasses.field(default_factory=set)
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def image(self) -> str:
        return layout.CopyPaths(self.directory).image


class Swarm:
    """Transfers templates between the nodes of a cluster.

    Threads may share one. Peers come from :meth:`connect` alone: there is no
    DHT, no local discovery and no tracker.

    :param host: the address to listen on
    :param port: 0 takes any that is free
    :param tls: may be left out on a loopback address only
    :param upload_limit: bytes/s over all peers; 0 is no limit
    :param download_limit: likewise
    :param ended: called with the digest whenever a fetch is complete or a
        transfer has failed, in a thread of the swarm: it must not block
    :raises BadConfiguration: if it cannot listen, or may not
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        tls: tls_files.Files | None = None,
        upload_limit: int = 0,
        download_limit: int = 0,
        ended: Callable[[str], None] | None = None,
    ) -> None:
        tls_files.require(host, 'the swarm', secure=tls is not None)
        self._tls = tls
        self._ca = identity.prove(tls) if tls else None
        self._ended = ended
        self._lock = threading.RLock()
        self._transfers: dict[str, _Transfer] = {}
        self._closing = threading.Event()
        self._traffic = (0, 0)
        self._session = engine.open_session(host, port, tls is not None)
        self.set_limits(upload_limit, download_limit)
        self.port = engine.wait_for_port(self._session, host, port)
        self._disk = futures.ThreadPoolExecutor(2, 'swarm-disk')
        self._reader = threading.Thread(
            target=self._read_alerts, name='swarm-alerts', daemon=True
        )
        self._reader.start()

    def seed(
        self, template: objects.Template, pieces: bytes, directory: str
    ) -> None:
        """Give ``image`` in *directory* to peers; never write to it.

        The file is believed to be whole. Each piece is proved once before a
        peer gets it: a bad one ends the transfer with ``CorruptCopy``. What
        this session has fetched goes on serving its peers, without a break,
        from the new directory.

        :param pieces: the content of the file ``pieces``
        :raises CorruptCopy: if *pieces* do not prove the digest
        :raises Invalid: for an empty template
        """
        with self._lock:
            known = self._transfers.get(template.digest)
            if known and known.state == COMPLETE:
                self._move(known, directory)
                return
            transfer = self._begin(template, pieces, directory, SEEDING)
            if transfer:
                # Upload mode: a copy that fails its proof must not be mended
                # in place by what peers send.
                self._add(
                    transfer,
                    lt.torrent_flags.seed_mode | lt.torrent_flags.upload_mode,
                )

    def fetch(
        self, template: objects.Template, pieces: bytes, directory: str
    ) -> None:
        """Get the template from peers into ``image`` in *directory*.

        The file appears sparse, with mode 0600. What an earlier fetch has
        left there is proved and kept.

        :param pieces: the content of the file ``pieces``
        :raises CorruptCopy: if *pieces* do not prove the digest
        :raises Invalid: for an empty template
        """
        with self._lock:
            transfer = self._begin(template, pieces, directory, PROVING)
            if transfer:
                self._submit(
                    transfer, self._prepare, merkle.split_layer(pieces)
                )

    def connect(self, digest: str, peers: Iterable[Peer]) -> None:
        """Tell which nodes have the template, or are fetching it.

        Cheap to repeat. Peers told before are kept; an unknown digest is
        ignored.
        """
        peers = set(peers)
        with self._lock:
            transfer = self._transfers.get(digest)
            if transfer:
                transfer.peers |= peers
                self._connect(transfer)

    def progress(self, digest: str) -> Progress | None:
        """Return how far a transfer is; None if there is no such transfer."""
        with self._lock:
            transfer = self._transfers.get(digest)
            if transfer is None:
                return None
            result = Progress(
                transfer.state,
                0,
                transfer.template.size,
                error=transfer.error,
                banned=tuple(sorted(transfer.banned)),
            )
            handle = transfer.handle
        if handle is None:
            return result
        try:
            status = handle.status(0)
        except RuntimeError:  # stopped in this very moment
            return result
        rate = status.download_payload_rate
        left = result.size - status.total_done
        return dataclasses.replace(
            result,
            done=status.total_done,
            download_rate=rate,
            upload_rate=status.upload_payload_rate,
            downloaded=status.total_payload_download,
            uploaded=status.total_payload_upload,
            peers=status.num_peers,
            eta=left / rate if rate else None if left else 0.0,
        )

    def stop(self, digest: str) -> None:
        """Forget a transfer; its file stays. An unknown one is ignored."""
        with self._lock:
            transfer = self._transfers.pop(digest, None)
            if transfer:
                self._remove(transfer)

    @property
    def traffic(self) -> tuple[int, int]:
        """Template bytes (received, sent) by this session, a moment ago."""
        return self._traffic

    def set_limits(self, upload: int, download: int) -> None:
        """Set the limits in bytes/s over all peers; 0 is no limit."""
        # Not by apply_settings(): libtorrent 2.1 forgets there to listen with
        # TLS (session_impl::update_ssl_listen, for a setting long obsolete).
        everybody = self._session.global_peer_class_id
        limits = self._session.get_peer_class(everybody)
        limits.update(upload_limit=upload, download_limit=download)
        self._session.set_peer_class(everybody, limits)

    def close(self) -> None:
        """End all transfers and stop listening; more calls do nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._lock:
            for digest in list(self._transfers):
                self.stop(digest)
        self._reader.join()
        self._disk.shutdown(wait=False, cancel_futures=True)
        engine.close_session([self.__dict__.pop('_session')])

    def _begin(
        self,
        template: objects.Template,
        pieces: bytes,
        directory: str,
        state: str,
    ) -> _Transfer | None:
        """Return a new transfer; None if it is under way already."""
        known = self._transfers.get(template.digest)
        if known and known.directory == directory and known.state != FAILED:
            return None
        torrent = metainfo.metainfo(template, pieces, self._ca)
        self.stop(template.digest)
        transfer = _Transfer(template, directory, torrent, state)
        if known:
            transfer.peers = known.peers
        self._transfers[template.digest] = transfer
        return transfer

    def _submit(
        self, transfer: _Transfer, work: Callable[..., None], *args: object
    ) -> None:
        """Do what reads or writes the whole file, in a thread."""

        def run() -> None:
            try:
                work(transfer, *args)
            except OSError as exc:
                self._fail(transfer, engine.disk_error(exc.errno, str(exc)))
            except Exception as exc:
                LOG.exception('swarm: %s', transfer.image)
                self._fail(transfer, exceptions.TmplError(str(exc)))

        self._disk.submit(run)

    def _prepare(self, transfer: _Transfer, layer: list[bytes]) -> None:
        have = incoming.prepare(
            transfer.image, transfer.template, layer, transfer.stop
        )
        with self._lock:
            if not transfer.stop.is_set():
                transfer.state = FETCHING
                self._add(transfer, 0, have)

    def _add(
        self, transfer: _Transfer, flags: int, have: list[bool] | None = None
    ) -> None:
        """Put a transfer into the session."""
        params = lt.load_torrent_buffer(transfer.metainfo)
        transfer.metainfo = b''  # up to 256 KiB
        params.save_path = transfer.directory
        params.renamed_files = {0: layout.IMAGE}
        params.storage_mode = lt.storage_mode_t.storage_mode_sparse
        # Paused until it has its certificate.
        params.flags = flags | lt.torrent_flags.paused
        if have is not None:
            params.have_pieces = have
        transfer.handle = handle = self._session.add_torrent(params)
        if self._tls:
            handle.set_ssl_certificate(
                self._tls.certificate, self._tls.key, ''
            )
        handle.resume()
        self._connect(transfer)

    def _connect(self, transfer: _Transfer) -> None:
        for peer in transfer.peers if transfer.handle is not None else ():
            try:
                # As if from a tracker: only that gives a peer which failed
                # before another chance (peer_list::update_peer).
                transfer.handle.connect_peer(peer, lt.peer_info.tracker)
            except RuntimeError as exc:
                LOG.warning('swarm: %s port %s is no peer: %s', *peer, exc)

    def _move(self, transfer: _Transfer, directory: str) -> None:
        transfer.handle.move_storage(
            directory, lt.move_flags_t.reset_save_path_unchecked
        )
        transfer.handle.set_flags(lt.torrent_flags.upload_mode)
        transfer.directory = directory
        transfer.state = SEEDING

    def _remove(self, transfer: _Transfer) -> None:
        transfer.stop.set()
        handle, transfer.handle = transfer.handle, None
        if handle is not None:
            self._session.remove_torrent(handle)

    def _fail(self, transfer: _Transfer, error: exceptions.TmplError) -> None:
        with self._lock:
            if transfer.stop.is_set():
                return
            transfer.state, transfer.error = FAILED, error
            self._remove(transfer)
        LOG.error('swarm: %s: %s', transfer.image, error)
        self._notify(transfer)

    def _complete(self, transfer: _Transfer) -> None:
        """All is on disk: give back what zeros take there."""
        incoming.punch_zeros(transfer.image, transfer.stop)
        with self._lock:
            if transfer.stop.is_set():
                return
            transfer.state = COMPLETE
        self._notify(transfer)

    def _notify(self, transfer: _Transfer) -> None:
        if self._ended:
            self._ended(transfer.template.digest)

    def _read_alerts(self) -> None:
        asked = 0.0
        while not self._closing.is_set():
            self._session.wait_for_alert(200)
            if time.monotonic() - asked > _COUNT:
                self._session.post_session_stats()
                asked = time.monotonic()
            for alert in self._session.pop_alerts():
                try:
                    self._on_alert(alert)
                except Exception:
                    LOG.exception('swarm: %s', alert)

    def _on_alert(self, alert: lt.alert) -> None:
        if isinstance(alert, lt.session_stats_alert):
            self._traffic = (
                alert.values['net.recv_payload_bytes'],
                alert.values['net.sent_payload_bytes'],
            )
            return
        react = _REACTIONS.get(type(alert))
        if react is None:
            return
        with self._lock:
            transfer = next(
                (
                    each
                    for each in self._transfers.values()
                    if each.handle == alert.handle
                ),
                None,
            )
        if transfer:
            react(self, transfer, alert)

    def _on_finished(self, transfer: _Transfer, _: lt.alert) -> None:
        # Proved in memory, but some of it may not be in the file yet.
        with self._lock:
            if transfer.state == FETCHING and transfer.handle is not None:
                transfer.handle.flush_cache()

    def _on_flushed(self, transfer: _Transfer, _: lt.alert) -> None:
        with self._lock:
            if (
                transfer.state == FETCHING
                and transfer.handle is not None
                and transfer.handle.status(0).is_seeding
            ):
                transfer.state = FINISHING
                self._submit(transfer, self._complete)

    def _on_file_error(
        self, transfer: _Transfer, alert: lt.file_error_alert
    ) -> None:
        self._fail(
            transfer,
            engine.disk_error(
                engine.system_errno(alert.error), alert.message()
            ),
        )

    def _on_rejected(
        self, transfer: _Transfer, alert: lt.fastresume_rejected_alert
    ) -> None:
        # The file to seed is not there, or not of its size.
        if transfer.state == SEEDING:
            self._fail(transfer, exceptions.CorruptCopy(alert.message()))

    def _on_hash_failed(
        self, transfer: _Transfer, alert: lt.hash_failed_alert
    ) -> None:
        # While fetching, this is about what a peer sent: it is asked for
        # again. What we seed was believed to be good.
        if transfer.state in (SEEDING, COMPLETE):
            self._fail(
                transfer,
                exceptions.CorruptCopy(
                    f'{transfer.image}: piece {alert.piece_index} is not what '
                    'its hash says'
                ),
            )

    def _on_peer_ban(
        self, transfer: _Transfer, alert: lt.peer_ban_alert
    ) -> None:
        LOG.warning(
            'swarm: %s: banned %s: it sent bad data',
            transfer.image,
            alert.endpoint[0],
        )
        transfer.banned.add(alert.endpoint[0])


_REACTIONS: dict[type, Callable[[Swarm, _Transfer, lt.alert], None]] = {
    lt.torrent_finished_alert: Swarm._on_finished,
    lt.cache_flushed_alert: Swarm._on_flushed,
    lt.file_error_alert: Swarm._on_file_error,
    lt.fastresume_rejected_alert: Swarm._on_rejected,
    lt.hash_failed_alert: Swarm._on_hash_failed,
    lt.peer_ban_alert: Swarm._on_peer_ban,
}
