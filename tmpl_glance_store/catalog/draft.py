# SPDX-License-Identifier: Apache-2.0
"""A snapshot in the making: from entries of the catalog, and its changes."""

from collections.abc import Iterable, Mapping
from typing import Any

from tmpl_glance_store import objects
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import records as catalog_records
from tmpl_glance_store.catalog import snapshot as catalog_snapshot


def snapshot(
    records: catalog_records.Records,
    news: Iterable[contract.Entry | contract.Change],
    before: catalog_snapshot.Snapshot = catalog_snapshot.EMPTY,
) -> catalog_snapshot.Snapshot:
    """Return *before* with *news*, the older ones first."""
    draft = _Draft(records, before)
    for each in news:
        draft.take(each.key, each.value)
    return draft.finish()


class _Draft:
    """The tables of a snapshot; those that it began with stay as they are."""

    def __init__(
        self,
        records: catalog_records.Records,
        before: catalog_snapshot.Snapshot,
    ) -> None:
        self._split = records.split
        self._kinds: Mapping[str, catalog_records.Table[Any]] = {
            'templates': records.templates,
            'locations': records.locations,
            'copies': records.copies,
            'nodes': records.nodes,
        }
        self._tables: dict[str, dict[str, Any]] = {
            kind: dict(getattr(before, kind)) for kind in self._kinds
        }
        self._own: set[str] = set()  # digests with a table of our own

    def take(self, key: str, value: bytes | None) -> None:
        """Take over a record, None if it is gone; ignore other kinds."""
        kind, name = self._split(key)
        if kind not in self._kinds:
            return
        table = self._tables[kind]
        if kind == 'copies':
            digest, _, name = name.partition('/')
            table = self._copies(digest)
        if value is None:
            table.pop(name, None)
        else:
            table[name] = self._kinds[kind].parse(value)

    def finish(self) -> catalog_snapshot.Snapshot:
        """Return the snapshot that has been made."""
        copies = self._tables['copies']
        for digest in self._own:
            if not copies[digest]:
                del copies[digest]
        return catalog_snapshot.Snapshot(**self._tables)

    def _copies(self, digest: str) -> dict[str, objects.Copy]:
        copies = self._tables['copies']
        if digest not in self._own:
            copies[digest] = dict(copies.get(digest, {}))
            self._own.add(digest)
        own: dict[str, objects.Copy] = copies[digest]
        return own
