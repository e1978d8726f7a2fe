# SPDX-License-Identifier: Apache-2.0
"""What a process knows of the catalog without asking for it."""

import dataclasses
import threading
import time
from collections.abc import Callable

from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import draft
from tmpl_glance_store.catalog import snapshot as catalog_snapshot

_RESYNC = 3600  # seconds; only in case a change was lost through an error


class View:
    """The catalog as it was last heard of: listed once, then kept by a watch.

    One thread calls :meth:`update` and :meth:`reload`; any may wait, or read
    :attr:`snapshot`. All raise
    :class:`~tmpl_glance_store.exceptions.Unavailable` when the catalog has to
    be read, and cannot be reached.

    :param resync: seconds after which all is listed anew, whatever was heard
    """

    def __init__(
        self,
        catalog: catalog_domain.Catalog,
        resync: float = _RESYNC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._resync = resync
        self._clock = clock
        self._lock = threading.Lock()
        self._watch: contract.Watch | None = None
        self._draft = draft.Draft(catalog.records)
        self._snapshot = catalog_snapshot.EMPTY
        self._doubt = ''
        self._revisions: dict[str, int] = {}  # of all keys that were seen
        self._revision = 0  # changes up to this one are in the snapshot
        self._listed_at: float | None = None

    @property
    def snapshot(self) -> catalog_snapshot.Snapshot:
        """The catalog as of the last update; empty before the first."""
        return self._snapshot

    def wait(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds; True if an update may be due."""
        return self._watched().wait(timeout) or self._is_old()

    def update(self) -> catalog_snapshot.Snapshot:
        """Take in what has changed since; list all only if that is unknown."""
        changes = self._watched().take()
        if changes is None or self._is_old():
            return self.reload()
        news = [each for each in changes if each.revision > self._revision]
        if any(self._catalog.records.is_history(each.key) for each in news):
            return self.reload()  # an operator has accepted the catalog
        if news:
            listed_at, self._listed_at = self._listed_at, None
            self._snapshot = self._with_doubt(self._draft.take(news))
            self._revisions.update((each.key, each.revision) for each in news)
            self._catalog.history.advance(max(e.revision for e in news))
            # Not before: what could not be read must not be passed over.
            self._listed_at = listed_at
        return self._snapshot

    def reload(self) -> catalog_snapshot.Snapshot:
        """List all anew."""
        self._watched()  # first, so that it tells what happens meanwhile
        self._listed_at = None
        entries = self._catalog.entries()
        self._doubt = self._catalog.history.check(self._went_back(entries))
        self._revisions = {each.key: each.revision for each in entries}
        self._draft = draft.Draft(self._catalog.records)
        self._snapshot = self._with_doubt(self._draft.take(entries))
        self._revision = max((each.revision for each in entries), default=0)
        self._listed_at = self._clock()
        return self._snapshot

    def _went_back(self, entries: list[contract.Entry]) -> str:
        """Return what tells that the catalog is older than it was, if so.

        A key's revision only grows, also when it is deleted and made again.
        That of the whole may have grown past the one that was known, by what
        others have written since it was set back.
        """
        for each in entries:
            before = self._revisions.get(each.key, 0)
            if each.revision < before:
                return (
                    f'the record {each.key!a} of the catalog is at '
                    f'revision {each.revision} and was at {before} before, as '
                    f'if restored from a backup'
                )
        return ''

    def _with_doubt(
        self, snapshot: catalog_snapshot.Snapshot
    ) -> catalog_snapshot.Snapshot:
        return dataclasses.replace(snapshot, doubt=self._doubt)

    def close(self) -> None:
        """Stop watching."""
        with self._lock:
            if self._watch is not None:
                self._watch.close()

    def _is_old(self) -> bool:
        return (
            self._listed_at is None
            or self._clock() - self._listed_at >= self._resync
        )

    def _watched(self) -> contract.Watch:
        with self._lock:
            if self._watch is None:
                self._watch = self._catalog.watch()
            return self._watch
