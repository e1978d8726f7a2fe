# SPDX-License-Identifier: Apache-2.0
"""The copies on their way to this node, each on a thread of its own."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store import recovery
from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store.agent import status
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging
from tmpl_glance_store.remote import templates as peer
from tmpl_glance_store.swarm import progress

LOG = logging.getLogger(__name__)

_RECONNECT = 2  # seconds

#: A holder: the base URL of its API, and where it takes peers.
Holder = tuple[str, swarm_package.session.Peer]


class Transfers:
    """Fetches templates through the swarm, and places and records them.

    :param ended: called whenever a transfer has ended, in whichever way
    """

    def __init__(
        self,
        *,
        catalog: catalog_domain.Catalog,
        swarm: swarm_package.Swarm,
        peers: peer.RemoteTemplates,
        ended: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._swarm = swarm
        self._peers = peers
        self._ended = ended
        self._recovery = recovery.Recovery(catalog)
        self._running: dict[str, _Transfer] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, digest: str) -> bool:
        return digest in self._running

    @property
    def digests(self) -> frozenset[str]:
        """The templates that are being fetched."""
        return frozenset(self._running)

    def fetch(
        self,
        template: objects.Template,
        location: local.LocalLocation,
        holders: Sequence[Holder],
    ) -> None:
        """Begin a fetch, or tell one that is under way of its peers."""
        running = self._running.get(template.digest)
        if running is None:
            running = _Transfer(template, location, self)
            self._running[template.digest] = running
            running.holders = list(holders)
            running.start()
        running.holders = list(holders)
        self._swarm.connect(template.digest, [each for _, each in holders])

    def told(self, digest: str) -> None:
        """Wake the transfer of a template: the swarm has news of it."""
        running = self._running.get(digest)
        if running is not None:
            running.news.set()

    def keep_only(self, digests: Iterable[str]) -> None:
        """Cancel the fetches of all other templates."""
        for digest in self._running.keys() - set(digests):
            self._running[digest].cancel()

    def reap(self) -> list[tuple[str, exceptions.TmplError]]:
        """Forget the transfers that have ended; return those that failed."""
        failed = []
        for digest, running in list(self._running.items()):
            if not running.is_alive():
                del self._running[digest]
                if running.error is not None:
                    failed.append((digest, running.error))
        return failed

    def settle(
        self, template: objects.Template, location: local.LocalLocation
    ) -> bool:
        """Record a copy just proved and placed, if it is still wanted.

        The caller holds its lock. Meanwhile the last image may have gone,
        and with it the template's record, since nobody else had a copy: it
        must not be made anew.

        :returns: whether the copy stays
        """
        record = self._catalog.template(template.digest)
        # One that is only pinned has no images, and is wanted all the same.
        self._recovery.decide(
            template,
            location,
            promised=(record is not None and record.deleted_at is None),
            proved=True,
        )
        return location.holds(template.digest)

    def close(self) -> None:
        """Break all transfers off; they are resumed by the next start."""
        self.keep_only(())
        for running in list(self._running.values()):
            running.join(5)

    def status(self) -> list[status.Transfer]:
        """Return how far each transfer is, for people and programs."""
        return [
            running.status() for _, running in sorted(self._running.items())
        ]


class _Transfer(threading.Thread):
    """One fetch, from nothing to a recorded copy."""

    def __init__(
        self,
        template: objects.Template,
        location: local.LocalLocation,
        owner: Transfers,
    ) -> None:
        super().__init__(name=f'fetch-{template.digest[:8]}', daemon=True)
        self.holders: list[Holder] = []
        self.news = threading.Event()
        self.error: exceptions.TmplError | None = None
        self._template = template
        self._location = location
        self._owner = owner
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Break the fetch off; what is there stays for the next one."""
        self._cancelled.set()
        self.news.set()

    def run(self) -> None:
        try:
            self._run()
        except exceptions.TmplError as exc:
            LOG.warning('Template %s: %s', self._template.digest, exc)
            self.error = exc
        except Exception as exc:
            LOG.exception('Template %s', self._template.digest)
            self.error = exceptions.Unavailable(str(exc))
        self._owner._ended()

    def status(self) -> status.Transfer:
        known = status.Transfer(
            self._template.digest,
            self._location.record.id,
            self._template.size,
        )
        now = self._owner._swarm.progress(self._template.digest)
        if now is None:
            return known
        return dataclasses.replace(
            known,
            state=now.state,
            done=now.done,
            download_rate=now.download_rate,
            peers=now.peers,
            eta=now.eta,
        )

    def _run(self) -> None:
        digest = self._template.digest
        pieces = b''
        if self._template.size:
            pieces = self._owner._peers.pieces(
                self._template, [url for url, _ in self.holders]
            )
        with self._location.resume(digest) as staged:
            if self._template.size and not self._receive(staged, pieces):
                return
            self._location.check()
            staged.seal_fetched(self._template, pieces)
            self._owner._catalog.intend(digest, self._location.record.id)
            if not (
                staged.place(digest)
                and self._owner.settle(self._template, self._location)
            ):
                self._owner._swarm.stop(digest)
                return
        if self._template.size:
            # Go on serving those who have just been peers.
            self._owner._swarm.seed(
                self._template, pieces, self._location.paths.copy(digest)
            )

    def _receive(self, staged: staging.Staged, pieces: bytes) -> bool:
        """Fetch the image; False if the fetch was cancelled."""
        swarm, digest = self._owner._swarm, self._template.digest
        swarm.fetch(self._template, pieces, staged.directory)
        try:
            while not self._cancelled.is_set():
                swarm.connect(digest, [each for _, each in self.holders])
                now = swarm.progress(digest)
                if now is None or now.state == progress.COMPLETE:
                    return now is not None
                if now.error is not None:
                    raise now.error
                # Without the catalog no pass tells of the peers: try those
                # known again and again, a connection may have broken.
                self.news.wait(_RECONNECT)
                self.news.clear()
        except BaseException:
            swarm.stop(digest)
            raise
        swarm.stop(digest)
        return False
