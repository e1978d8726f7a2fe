# SPDX-License-Identifier: Apache-2.0
"""One fetch, on a thread of its own: from nothing to a recorded copy."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store.agent import status
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging
from tmpl_glance_store.remote import templates as remote
from tmpl_glance_store.swarm import progress

LOG = logging.getLogger(__name__)

_RECONNECT = 2  # seconds


class Source(NamedTuple):
    """A node that a template comes from, as a holder or a fellow fetcher."""

    api: str
    peer: swarm_package.Peer


class Transfer(threading.Thread):
    """Fetches one template into one location.

    ``sources`` may be replaced while it runs; ``error`` says why it has
    failed, and stays None if it was cancelled.

    :param ended: called at the end, in whichever way it came
    """

    def __init__(
        self,
        template: objects.Template,
        location: local.LocalLocation,
        sources: Sequence[Source],
        *,
        keeper: keeping.Keeper,
        swarm: swarm_package.Swarm,
        remote: remote.RemoteTemplates,
        ended: Callable[[], object],
    ) -> None:
        super().__init__(name=f'fetch-{template.digest[:8]}', daemon=True)
        self.sources = list(sources)
        self.news = threading.Event()
        self.error: exceptions.TmplError | None = None
        self._template = template
        self._location = location
        self._keeper = keeper
        self._swarm = swarm
        self._remote = remote
        self._ended = ended
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Break the fetch off; what is there stays for the next one."""
        self._cancelled.set()
        self.news.set()

    def run(self) -> None:
        """Fetch; whatever hinders it becomes its ``error``."""
        try:
            self._fetch()
        except exceptions.TmplError as exc:
            LOG.warning('Template %s: %s', self._template.digest, exc)
            self.error = exc
        except Exception as exc:
            LOG.exception('Template %s', self._template.digest)
            self.error = exceptions.Unavailable(str(exc))
        self._ended()

    def status(self) -> status.Transfer:
        """Return how far it is."""
        known = status.Transfer(
            self._template.digest,
            self._location.record.id,
            self._template.size,
        )
        now = self._swarm.progress(self._template.digest)
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

    def _fetch(self) -> None:
        template, digest = self._template, self._template.digest
        pieces = b''
        if template.size:
            pieces = self._remote.pieces(
                template, [each.api for each in self.sources]
            )
        with self._location.resume(digest) as staged:
            if template.size and not self._receive(staged, pieces):
                return
            self._location.check()
            staged.seal_fetched(template, pieces)
            if not self._keeper.arrived(staged, template, self._location):
                self._swarm.stop(digest)
                return
        if template.size:
            # Go on serving those who have just been peers.
            self._swarm.seed(
                template, pieces, self._location.paths.copy(digest)
            )

    def _receive(self, staged: staging.Staged, pieces: bytes) -> bool:
        """Fetch the image; False if the fetch was cancelled."""
        swarm, digest = self._swarm, self._template.digest
        swarm.fetch(self._template, pieces, staged.directory)
        try:
            while not self._cancelled.is_set():
                swarm.connect(digest, [each.peer for each in self.sources])
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
