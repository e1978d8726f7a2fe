# SPDX-License-Identifier: Apache-2.0
"""Whether the catalog is the one that this host knows, and not an older one.

A catalog that was emptied, replaced or restored from a backup says of living
templates that nobody wants them. So each host remembers which catalog it has
seen, and how far that was; what is another one, or was further already, may be
read and added to, but nothing is removed on its word until an operator has
accepted it.
"""

import dataclasses
import logging
import secrets
import threading
from collections.abc import Callable, Iterable

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store import schema
from tmpl_glance_store.catalog import records as catalog_records
from tmpl_glance_store.schema import field

LOG = logging.getLogger(__name__)

_CURE = (
    'nothing is removed on its word until you have looked at it (tmpl-manage '
    'catalog check) and accepted it (tmpl-manage catalog accept)'
)


@dataclasses.dataclass(frozen=True, slots=True)
class Seen(schema.Record):
    """What a host has seen of a catalog: the file ``history.json``.

    ``identity`` and ``revision`` are the key-value store's; ``catalog``,
    ``epoch`` and ``seed`` those of :class:`objects.History`, the first one
    empty where there was no such record. ``doubt`` says why a catalog that was
    seen at this epoch is not relied on: a revision that grows past the one
    before makes it no better.
    """

    identity: str = field(schema.line(128))
    revision: int = field(schema.whole())
    epoch: int = field(schema.whole(), default=0)
    seed: int = field(schema.whole(0, objects.SPACE - 1), default=0)
    catalog: str = field(schema.text('[0-9a-f]{0,32}'), default='')
    doubt: str = field(schema.line(), default='')


class History:
    """The history of the catalog, as this process sees it.

    :param memories: returns what this host remembers
    :param clock: seconds since the epoch
    """

    def __init__(
        self,
        records: catalog_records.Records,
        memories: Callable[[], Iterable[Seen]],
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._memories = memories
        self._clock = clock
        self._last: Seen | None = None
        self._lock = threading.Lock()
        self._doubted: Seen | None = None

    @property
    def last(self) -> Seen | None:
        """What is to be remembered: a good catalog, or that one is doubted."""
        return self._doubted or self._last

    def begin(self) -> objects.History:
        """Return the catalog's own record, made now if it is a new one.

        :raises Forbidden: if there is none, and this process may not make it
        """
        found = self._find()
        while found.record is None:
            self._records.store.commit(
                [found.unchanged()],
                [self._records.history.put(self._new())],
            )
            found = self._find()
        return found.record

    def _find(self) -> catalog_records.Found[objects.History]:
        return self._records.history.find(catalog_records.CATALOG)

    def _new(self) -> objects.History:
        # Positions must not change with the catalog.
        known = (each.seed for each in self._memories() if each.seed)
        seed = next(known, None) or secrets.randbits(64)
        return objects.History(seed, 0, self._clock(), secrets.token_hex(16))

    def look(self) -> Seen:
        """Return what there is to see now."""
        found = self._find()
        history = found.record
        moment = self._records.store.moment(found.key)
        return Seen(
            moment.identity,
            moment.revision,
            history.epoch if history else 0,
            history.seed if history else 0,
            history.id if history else '',
        )

    def advance(self, revision: int) -> None:
        """Remember that the catalog is at *revision*, if it is relied on."""
        with self._lock:
            last = self._last
            if last and not self._doubted and revision > last.revision:
                self._last = dataclasses.replace(last, revision=revision)

    def check(self, evidence: str = '') -> str:
        """Return why nothing may be removed on this catalog's word, if so.

        :param evidence: what else speaks against it, empty if nothing
        :raises Unavailable: if the catalog cannot be reached
        """
        # Before the look: others may look later, and remember that earlier.
        known = (
            *self._memories(),
            *filter(None, (self._last, self._doubted)),
        )
        seen = self.look()
        reason = _doubt(seen, known) or evidence
        with self._lock:
            if reason:
                self._begin_to_doubt(seen, reason)
            else:
                self._rely_on(seen)
        return reason

    def _begin_to_doubt(self, seen: Seen, reason: str) -> None:
        if self._doubted is None:
            LOG.error('%s: %s', reason, _CURE)
            self._doubted = dataclasses.replace(seen, doubt=reason)

    def _rely_on(self, seen: Seen) -> None:
        if self._doubted is not None:
            LOG.info('The catalog was accepted, and is relied on')
            self._doubted = None
        if not _is_behind(seen, self._last):
            self._last = seen

    def require(self) -> None:
        """Make sure that something may be removed on this catalog's word.

        :raises Unavailable: if not; says what to do
        """
        reason = self.check()
        if reason:
            raise exceptions.Unavailable(f'{reason}: {_CURE}')

    def accept(self) -> objects.History:
        """Let all hosts rely on this catalog; return its record."""
        catalog_records.retry(self._try_to_accept)
        return self.begin()

    def _try_to_accept(self) -> bool:
        found = self._find()
        history = found.record or self._new()
        # Above all that were before, whatever backup this comes from.
        epoch = max(history.epoch + 1, int(self._clock()))
        return self._records.store.commit(
            [found.unchanged()],
            [
                self._records.history.put(
                    dataclasses.replace(history, epoch=epoch)
                )
            ],
        )


def _is_behind(seen: Seen, last: Seen | None) -> bool:
    """Tell whether another thread has looked at the same catalog later."""
    return (
        last is not None
        and (last.identity, last.epoch) == (seen.identity, seen.epoch)
        and last.revision > seen.revision
    )


def _doubt(seen: Seen, memories: Iterable[Seen]) -> str:
    """Return why what is *seen* is not what is remembered, if so."""
    for known in memories:
        if seen.epoch > known.epoch:
            continue  # an operator has looked at it since
        if known.doubt:
            return known.doubt
        if seen.identity != known.identity or (
            known.catalog and seen.catalog != known.catalog
        ):
            return 'this is another catalog than before, or an emptied one'
        if seen.epoch < known.epoch:
            return (
                'the catalog does not know any more that it was accepted, '
                'as if restored from a backup'
            )
        if seen.revision < known.revision:
            return (
                f'the catalog is at revision {seen.revision} and was at '
                f'{known.revision} before, as if restored from a backup'
            )
    return ''
