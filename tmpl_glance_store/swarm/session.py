# SPDX-License-Identifier: Apache-2.0
"""The one libtorrent session of a node: fetches and seeds templates."""

import functools
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import libtorrent as lt

from tmpl_glance_store import layout
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls as tls_files
from tmpl_glance_store.swarm import alerts
from tmpl_glance_store.swarm import contract
from tmpl_glance_store.swarm import engine
from tmpl_glance_store.swarm import identity
from tmpl_glance_store.swarm import incoming
from tmpl_glance_store.swarm import metainfo
from tmpl_glance_store.swarm import outcomes
from tmpl_glance_store.swarm import progress
from tmpl_glance_store.swarm import transfer as transfers_package

LOG = logging.getLogger(__name__)

Transfer = transfers_package.Transfer


def _ignore(_digest: str) -> None:
    pass


class Swarm:
    """Transfers templates by BitTorrent v2; see :class:`contract.Swarm`.

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
        self._closing = threading.Event()
        self._session = engine.open_session(host, port, tls is not None)
        self.set_limits(upload_limit, download_limit)
        self.port = engine.wait_for_port(self._session, host, port)
        self._transfers = transfers_package.Transfers(self._session)
        self._outcomes = outcomes.Outcomes(self._transfers, ended or _ignore)
        self._alerts = alerts.Alerts(self._session, self._outcomes.react)

    def seed(
        self, template: objects.Template, pieces: bytes, directory: str
    ) -> None:
        """Give ``image`` in *directory* to peers; never write to it."""
        with self._transfers.lock:
            known = self._transfers.get(template.digest)
            if known and known.state == progress.COMPLETE:
                self._move(known, directory)
                return
            transfer = self._begin(
                template, pieces, directory, progress.SEEDING
            )
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
        """Get the template from peers into ``image`` in *directory*."""
        with self._transfers.lock:
            transfer = self._begin(
                template, pieces, directory, progress.PROVING
            )
            if transfer:
                self._outcomes.submit(
                    transfer,
                    functools.partial(
                        self._prepare, layer=merkle.split_layer(pieces)
                    ),
                )

    def connect(self, digest: str, peers: Iterable[contract.Peer]) -> None:
        """Tell which nodes have the template, or are fetching it."""
        peers = set(peers)
        with self._transfers.lock:
            transfer = self._transfers.get(digest)
            if transfer:
                transfer.peers |= peers
                _connect(transfer)

    def progress(self, digest: str) -> progress.Progress | None:
        """Return how far a transfer is; None if there is no such transfer."""
        with self._transfers.lock:
            transfer = self._transfers.get(digest)
            if transfer is None:
                return None
            known, handle = transfer.known(), transfer.handle
        if handle is None:
            return known
        return transfers_package.measured(known, handle)

    def stop(self, digest: str) -> None:
        """Forget a transfer; its file stays. An unknown one is ignored."""
        self._transfers.forget(digest)

    @property
    def traffic(self) -> tuple[int, int]:
        """Template bytes (received, sent) by this session, a moment ago."""
        return self._alerts.traffic

    def set_limits(self, upload: int, download: int) -> None:
        """Set the limits in bytes/s over all peers; 0 is no limit."""
        # Not by apply_settings(): libtorrent 2.1 forgets there to listen with
        # TLS (session_impl::update_ssl_listen, for a setting long obsolete).
        everybody = self._session.global_peer_class_id
        limits: Any = self._session.get_peer_class(everybody)
        limits.update(upload_limit=upload, download_limit=download)
        self._session.set_peer_class(everybody, limits)

    def close(self) -> None:
        """End all transfers and stop listening; more calls do nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._transfers.forget_all()
        self._alerts.close()
        self._outcomes.close()
        engine.close_session(self._let_go())

    def _let_go(self) -> list[lt.session]:
        """Return the session, which nothing else here refers to any more."""
        self._transfers.let_go()
        return [self.__dict__.pop('_session')]

    def _begin(
        self,
        template: objects.Template,
        pieces: bytes,
        directory: str,
        state: str,
    ) -> Transfer | None:
        """Return a new transfer; None if it is under way already."""
        known = self._transfers.get(template.digest)
        if (
            known
            and known.directory == directory
            and known.state != progress.FAILED
        ):
            return None
        torrent = metainfo.metainfo(template, pieces, self._ca)
        transfer = Transfer(template, directory, torrent, state)
        if known:
            transfer.peers = known.peers
        self._transfers.put(transfer)
        return transfer

    def _prepare(self, transfer: Transfer, layer: list[bytes]) -> None:
        have = incoming.prepare(
            transfer.image, transfer.template, layer, transfer.stop
        )
        with self._transfers.lock:
            if not transfer.stop.is_set():
                transfer.state = progress.FETCHING
                self._add(transfer, 0, have)

    def _add(
        self, transfer: Transfer, flags: int, have: list[bool] | None = None
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
        _connect(transfer)

    def _move(self, transfer: Transfer, directory: str) -> None:
        assert transfer.handle is not None
        transfer.handle.move_storage(
            directory, lt.move_flags_t.reset_save_path_unchecked
        )
        transfer.handle.set_flags(lt.torrent_flags.upload_mode)
        transfer.directory = directory
        transfer.state = progress.SEEDING


def _connect(transfer: Transfer) -> None:
    handle = transfer.handle
    if handle is None:
        return
    for peer in transfer.peers:
        try:
            # As if from a tracker: only that gives a peer which failed
            # before another chance (peer_list::update_peer).
            handle.connect_peer(peer, lt.peer_info.tracker)
        except RuntimeError as exc:
            LOG.warning('swarm: %s port %s is no peer: %s', *peer, exc)
