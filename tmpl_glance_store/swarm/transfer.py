# SPDX-License-Identifier: Apache-2.0
"""The transfers of a session, and what is known of each."""

import dataclasses
import threading

import libtorrent as lt

from tmpl_glance_store import exceptions
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store.swarm import contract
from tmpl_glance_store.swarm import progress


@dataclasses.dataclass(slots=True, eq=False)
class Transfer:
    """What the session knows of one template; guarded by ``Transfers.lock``.

    ``stop`` is set for good once it is forgotten or has failed.
    """

    template: objects.Template
    directory: str
    metainfo: bytes
    state: str
    handle: lt.torrent_handle | None = None
    error: exceptions.TmplError | None = None
    peers: set[contract.Peer] = dataclasses.field(default_factory=set)
    banned: set[str] = dataclasses.field(default_factory=set)
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def image(self) -> str:
        """The file that is written or served."""
        return layout.CopyPaths(self.directory).image

    def known(self) -> progress.Progress:
        """Return what can be told without asking libtorrent."""
        return progress.Progress(
            self.state,
            0,
            self.template.size,
            error=self.error,
            banned=tuple(sorted(self.banned)),
        )


def measured(
    known: progress.Progress, handle: lt.torrent_handle
) -> progress.Progress:
    """Return *known* with what libtorrent says of the transfer."""
    try:
        status = handle.status(0)
    except RuntimeError:  # stopped in this very moment
        return known
    rate = status.download_payload_rate
    left = known.size - status.total_done
    return dataclasses.replace(
        known,
        done=status.total_done,
        download_rate=rate,
        upload_rate=status.upload_payload_rate,
        downloaded=status.total_payload_download,
        uploaded=status.total_payload_upload,
        peers=status.num_peers,
        eta=left / rate if rate else None if left else 0.0,
    )


class Transfers:
    """The transfers of a session by digest; ``lock`` guards all of them."""

    def __init__(self, session: lt.session) -> None:
        self.lock = threading.RLock()
        self._session = session
        self._known: dict[str, Transfer] = {}

    def get(self, digest: str) -> Transfer | None:
        """Return the transfer of a template, if there is one."""
        return self._known.get(digest)

    def put(self, transfer: Transfer) -> None:
        """Take up a transfer, instead of the one of the same template."""
        self.forget(transfer.template.digest)
        self._known[transfer.template.digest] = transfer

    def of(self, handle: lt.torrent_handle) -> Transfer | None:
        """Return the transfer that libtorrent means."""
        with self.lock:
            for each in self._known.values():
                if each.handle == handle:
                    return each
        return None

    def forget(self, digest: str) -> None:
        """End a transfer and forget it; an unknown one is ignored."""
        with self.lock:
            transfer = self._known.pop(digest, None)
            if transfer is not None:
                self.end(transfer)

    def forget_all(self) -> None:
        """End all transfers, and forget them."""
        with self.lock:
            for digest in list(self._known):
                self.forget(digest)

    def end(self, transfer: Transfer) -> None:
        """Take a transfer out of the session for good."""
        transfer.stop.set()
        handle, transfer.handle = transfer.handle, None
        if handle is not None:
            self._session.remove_torrent(handle)

    def let_go(self) -> None:
        """Forget the session, so that whoever destroys it is the last."""
        del self._session
