# SPDX-License-Identifier: Apache-2.0
"""What a process knows of the catalog without asking for it."""

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog import contract

_RESYNC = 3600  # seconds; only in case a change was lost through an error


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The catalog at one moment; it never changes, so any thread may read.

    ``copies`` are by digest, then by location; the others by their ids.
    """

    templates: Mapping[str, objects.TemplateRecord]
    locations: Mapping[str, objects.Location]
    copies: Mapping[str, Mapping[str, objects.Copy]]
    nodes: Mapping[str, objects.Node]


_EMPTY = Snapshot({}, {}, {}, {})


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
        self._snapshot = _EMPTY
        self._revision = 0  # changes up to this one are in the snapshot
        self._listed_at: float | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The catalog as of the last update; empty before the first."""
        return self._snapshot

    def wait(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds; True if an update may be due."""
        return self._watched().wait(timeout) or self._is_old()

    def update(self) -> Snapshot:
        """Take in what has changed since; list all only if that is unknown."""
        changes = self._watched().take()
        if changes is None or self._is_old():
            return self.reload()
        news = [each for each in changes if each.revision > self._revision]
        if news:
            listed_at, self._listed_at = self._listed_at, None
            self._snapshot = self._with(self._snapshot, news)
            # Not before: what could not be read must not be passed over.
            self._listed_at = listed_at
        return self._snapshot

    def reload(self) -> Snapshot:
        """List all anew."""
        self._watched()  # first, so that it tells what happens meanwhile
        self._listed_at = None
        entries = self._catalog.entries()
        self._snapshot = self._with(
            _EMPTY,
            [
                contract.Change(entry.key, entry.value, entry.revision)
                for entry in entries
            ],
        )
        self._revision = max((each.revision for each in entries), default=0)
        self._listed_at = self._clock()
        return self._snapshot

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

    def _with(
        self, before: Snapshot, changes: list[contract.Change]
    ) -> Snapshot:
        draft = _Draft(before)
        start = len(self._catalog.root) + 1
        for each in changes:
            draft.take(each.key[start:], each.value)
        return draft.finish()


class _Draft:
    """A snapshot in the making; the one that it began with stays as it is."""

    _RECORDS: Mapping[str, type[objects.Record]] = {
        'templates': objects.TemplateRecord,
        'locations': objects.Location,
        'copies': objects.Copy,
        'nodes': objects.Node,
    }

    def __init__(self, before: Snapshot) -> None:
        self._tables: dict[str, dict[str, Any]] = {
            kind: dict(getattr(before, kind)) for kind in self._RECORDS
        }
        self._own: set[str] = set()  # digests with a table of our own

    def take(self, key: str, value: bytes | None) -> None:
        """Take over a record, None if it is gone; ignore other kinds."""
        kind, _, name = key.partition('/')
        if kind not in self._RECORDS:
            return
        table = self._tables[kind]
        if kind == 'copies':
            digest, _, name = name.partition('/')
            table = self._copies(digest)
        if value is None:
            table.pop(name, None)
        else:
            table[name] = self._RECORDS[kind].from_json(value)

    def finish(self) -> Snapshot:
        """Return the snapshot that has been made."""
        copies = self._tables['copies']
        for digest in self._own:
            if not copies[digest]:
                del copies[digest]
        return Snapshot(**self._tables)

    def _copies(self, digest: str) -> dict[str, Any]:
        copies = self._tables['copies']
        if digest not in self._own:
            copies[digest] = dict(copies.get(digest, {}))
            self._own.add(digest)
        return copies[digest]
