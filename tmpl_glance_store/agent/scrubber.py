# SPDX-License-Identifier: Apache-2.0
"""Proves copies again, slowly, and takes bad ones out of service."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from tmpl_glance_store import digests
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.imagecache import proofs
from tmpl_glance_store.localstore import copy as copy_files
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import store as local_store

LOG = logging.getLogger(__name__)

_PAUSE = 60  # seconds between two looks for a copy that is due
_RETRY = 3600  # seconds until a copy is tried again, should it still be due


class _Stopped(Exception):
    """The scrubber is to end, in the middle of a file."""


class Scrubber:
    """Reads the copies of this node, the longest unproved one first.

    :param copies: returns the cluster's copies as the agent knows them, by
        digest and location; it may be a moment behind the catalog
    :param rate: bytes per second; 0 stops it
    :param period: seconds after which a copy is due again
    :param on_proved: told the bytes read of a good copy
    :param on_bad: told of each copy that went to quarantine
    :param files: returns what else is to be proved: base files
    """

    def __init__(
        self,
        *,
        catalog: catalog_domain.Catalog,
        keeper: keeping.Keeper,
        store: local_store.LocalStore,
        copies: Callable[[], Mapping[str, Mapping[str, objects.Copy]]],
        rate: int,
        period: float,
        on_proved: Callable[[int], None],
        on_bad: Callable[[str], None],
        files: Callable[[float], Iterable[proofs.Proof]] = lambda period: (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rate = rate
        self.period = period
        self._catalog = catalog
        self._keeper = keeper
        self._store = store
        self._copies = copies
        self._on_proved = on_proved
        self._on_bad = on_bad
        self._files = files
        self._clock = clock
        self._tried: dict[tuple[str, str], float] = {}
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End :meth:`run` soon."""
        self._stopped.set()

    def run(self) -> None:
        """Scrub until stopped."""
        while not self._stopped.is_set():
            try:
                busy = self.rate > 0 and self.scrub_next()
            except exceptions.Unavailable as exc:
                LOG.info('Scrubbing waits: %s', exc)
                busy = False
            except Exception:  # a disk; what is due comes again
                LOG.exception('Scrubbing waits')
                busy = False
            if not busy:
                self._stopped.wait(min(_PAUSE, self.period))

    def scrub_next(self) -> bool:
        """Prove the copy that is most overdue; False if none is due.

        :raises Unavailable: if the catalog cannot be reached
        """
        self._forget_tries()
        due = [
            (copy.verified_at or 0.0, copy.digest, location)
            for location in self._store.locations
            if location.is_well()
            for copy in self._copies_in(location)
            if self._is_due(copy)
        ]
        if not due:
            return self._prove_file()
        _, digest, location = min(due, key=lambda each: each[:2])
        # Its record may be a moment old: it must not come again at once,
        # whatever becomes of it now.
        self._tried[digest, location.record.id] = self._clock()
        self.scrub(digest, location)
        return True

    def _copies_in(
        self, location: local.LocalLocation
    ) -> Iterator[objects.Copy]:
        for copies in self._copies().values():
            if (copy := copies.get(location.record.id)) is not None:
                yield copy

    def _is_due(self, copy: objects.Copy) -> bool:
        return (
            copy.complete
            and (copy.digest, copy.location_id) not in self._tried
            and self._clock() - (copy.verified_at or 0.0) >= self.period
        )

    def _forget_tries(self) -> None:
        since = self._clock() - min(_RETRY, self.period)
        self._tried = {
            copy: tried for copy, tried in self._tried.items() if tried > since
        }

    def scrub(self, digest: str, location: local.LocalLocation) -> bool:
        """Prove one copy; a bad one goes to quarantine. True if it is good.

        A disk that does not answer, or is not there any more, says nothing
        of the copy: it is left alone, and tried again later.
        """
        try:
            template = self._read(digest, location)
            if template is None:
                return True  # stopped in the middle
        except (OSError, exceptions.LocationRefused) as exc:
            LOG.warning('Not scrubbed: %s: %s', digest, exc)
            return True
        except exceptions.CorruptCopy as exc:
            LOG.error('Bad: %s', exc)
            try:
                self._keeper.condemn(digest, location)
            finally:
                self._on_bad(digest)
            return False
        self._catalog.copies.verified(digest, location.record.id)
        self._on_proved(template.size)
        return True

    def _read(
        self, digest: str, location: local.LocalLocation
    ) -> objects.Template | None:
        """Return the template if its copy is good; None if stopped.

        :raises CorruptCopy: if it is not, although its disk is there
        :raises OSError, LocationRefused: if nothing can be said
        """
        try:
            template = copy_files.read(location.paths.copy(digest))
            return template if self._prove(template, location) else None
        except exceptions.CorruptCopy:
            location.check()
            raise

    def _prove(
        self, template: objects.Template, location: local.LocalLocation
    ) -> bool:
        """Hash the copy at the set rate; False if stopped meanwhile.

        :raises CorruptCopy: if it is not what its digest says
        :raises OSError: if it cannot be read
        """
        try:
            location.prove(template.digest, self._throttle)
        except _Stopped:
            return False
        return True

    def _throttle(self, length: int) -> None:
        if self._stopped.wait(length / max(self.rate, 1)):
            raise _Stopped

    def _prove_file(self) -> bool:
        """Prove the next base file; False if none is due."""
        for proof in self._files(self.period):
            if (proof.path, proof.digest) in self._tried:
                continue
            self._tried[proof.path, proof.digest] = self._clock()
            try:
                self._prove_one(proof)
            except _Stopped:
                pass
            except (
                OSError,
                exceptions.WriteDenied,
                exceptions.NoSpace,
            ) as exc:
                LOG.warning('Not scrubbed: %s: %s', proof.path, exc)
            return True
        return False

    def _prove_one(self, proof: proofs.Proof) -> None:
        with open(proof.path, 'rb', buffering=0) as file:
            digest = digests.digest_of(file.fileno(), self._throttle)
        proof.tell(digest == proof.digest)
        self._on_proved(proof.size)
