# SPDX-License-Identifier: Apache-2.0
"""A swarm without libtorrent: files are copied between directories.

It passes the suite that the real one passes (``tests/contract/swarm.py``).
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable

from tmpl_glance_store import exceptions
from tmpl_glance_store import layout
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store.swarm import contract
from tmpl_glance_store.swarm import metainfo
from tmpl_glance_store.swarm import progress

SERVING = (progress.COMPLETE, progress.SEEDING)


class Network(dict[contract.Peer, 'Swarm']):
    """The swarms that can reach each other; *delivers* if bytes arrive."""

    delivers = True

    def deliver(self) -> None:
        """Let bytes arrive, and go wherever they are wanted."""
        self.delivers = True
        for swarm in list(self.values()):
            swarm.go_on()


@dataclasses.dataclass
class Transfer:
    """What a swarm knows of one template."""

    template: objects.Template
    directory: str
    state: str
    layer: list[bytes]
    error: exceptions.TmplError | None = None
    peers: set[contract.Peer] = dataclasses.field(default_factory=set)

    @property
    def image(self) -> pathlib.Path:
        """The file that is written or served."""
        return pathlib.Path(layout.CopyPaths(self.directory).image)

    def proved(self) -> bytes | None:
        """Return the bytes of the file, None if they are not the right."""
        data = self.image.read_bytes()
        size = self.template.piece_size
        layer = [
            merkle.piece_hash(data[at : at + size], len(data), size)
            for at in range(0, len(data), size)
        ]
        return data if layer == self.layer else None


class Swarm:
    """See :class:`contract.Swarm`; everything happens in the call itself."""

    def __init__(
        self,
        network: Network,
        peer: contract.Peer,
        ended: Callable[[str], None],
    ) -> None:
        self.transfers: dict[str, Transfer] = {}
        self.limits = (0, 0)
        self.traffic = (0, 0)
        self._network = network
        self._peer = peer
        self._ended = ended
        network[peer] = self

    def seed(
        self, template: objects.Template, pieces: bytes, directory: str
    ) -> None:
        """Give what lies in *directory*; it fails if nothing does."""
        known = self.transfers.get(template.digest)
        if known and known.state == progress.COMPLETE:
            known.directory, known.state = directory, progress.SEEDING
            return
        transfer = self._begin(template, pieces, directory, progress.SEEDING)
        if transfer is None:
            return
        try:
            whole = transfer.image.stat().st_size == template.size
        except FileNotFoundError:
            whole = False
        if whole:
            if self._network.delivers:
                self._network.deliver()
        else:
            self._fail(transfer)

    def fetch(
        self, template: objects.Template, pieces: bytes, directory: str
    ) -> None:
        """Get it from a peer that has it, now or as soon as one is told."""
        transfer = self._begin(template, pieces, directory, progress.FETCHING)
        if transfer is not None:
            fd = os.open(transfer.image, os.O_RDWR | os.O_CREAT, 0o600)
            os.ftruncate(fd, template.size)
            os.close(fd)
            self.go_on()

    def connect(self, digest: str, peers: Iterable[contract.Peer]) -> None:
        """Take note of peers, and ask them."""
        if digest in self.transfers:
            self.transfers[digest].peers.update(peers)
            self.go_on()

    def progress(self, digest: str) -> progress.Progress | None:
        """Return how far it is: nothing, or all."""
        transfer = self.transfers.get(digest)
        if transfer is None:
            return None
        size = transfer.template.size
        done = size if transfer.state in SERVING else 0
        return progress.Progress(
            transfer.state, done, size, error=transfer.error
        )

    def stop(self, digest: str) -> None:
        """Forget a transfer."""
        self.transfers.pop(digest, None)

    def set_limits(self, upload: int, download: int) -> None:
        """Take note of them."""
        self.limits = (upload, download)

    def close(self) -> None:
        """Leave the network."""
        self.transfers.clear()
        self._network.pop(self._peer, None)

    def go_on(self) -> None:
        """Finish the fetches that can be."""
        for transfer in list(self.transfers.values()):
            data = self._found(transfer)
            if data is not None:
                transfer.image.write_bytes(data)
                transfer.state = progress.COMPLETE
                received, sent = self.traffic
                self.traffic = (received + len(data), sent)
                self._ended(transfer.template.digest)

    def give(self, digest: str) -> bytes | None:
        """Return the bytes of a template, if they are here and right."""
        transfer = self.transfers.get(digest)
        if transfer is None or transfer.state not in SERVING:
            return None
        data = transfer.proved()
        if data is None:
            self._fail(transfer)
        return data

    def _found(self, transfer: Transfer) -> bytes | None:
        if transfer.state != progress.FETCHING:
            return None
        # What an earlier fetch has left, or zeros.
        data = transfer.proved()
        for peer in transfer.peers if self._network.delivers else ():
            if data is None and peer in self._network:
                data = self._network[peer].give(transfer.template.digest)
        return data

    def _begin(
        self,
        template: objects.Template,
        pieces: bytes,
        directory: str,
        state: str,
    ) -> Transfer | None:
        known = self.transfers.get(template.digest)
        if (
            known
            and known.directory == directory
            and known.state != progress.FAILED
        ):
            return None
        metainfo.metainfo(template, pieces, None)
        transfer = Transfer(
            template, directory, state, merkle.split_layer(pieces)
        )
        if known:
            transfer.peers = known.peers
        self.transfers[template.digest] = transfer
        return transfer

    def _fail(self, transfer: Transfer) -> None:
        transfer.state = progress.FAILED
        transfer.error = exceptions.CorruptCopy(str(transfer.image))
        self._ended(transfer.template.digest)
