# SPDX-License-Identifier: Apache-2.0
"""A snapshot in the making: from entries of the catalog, and its changes."""

from collections.abc import Callable, Iterable
from typing import Any

from tmpl_glance_store import objects
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import locations as catalog_locations
from tmpl_glance_store.catalog import records as catalog_records
from tmpl_glance_store.catalog import snapshot as catalog_snapshot

News = Iterable[contract.Entry | contract.Change]


def snapshot(
    records: catalog_records.Records, news: News
) -> catalog_snapshot.Snapshot:
    """Return what *news* make, the older ones first."""
    return Draft(records).take(news)


class Draft:
    """What is known, as it is written; what belongs together is joined.

    The snapshots that it gives out stay as they are.
    """

    def __init__(self, records: catalog_records.Records) -> None:
        self._records = records
        self._facts: dict[str, objects.Template] = {}
        self._claims: dict[str, dict[str, str]] = {}
        self._pins: dict[str, objects.Pin] = {}
        self._deletions: dict[str, objects.Deletion] = {}
        self._placement: dict[str, objects.Placement] = {}
        self._places: dict[str, objects.Location] = {}
        self._nodes: dict[str, objects.Node] = {}
        self._copies: dict[str, dict[str, objects.Copy]] = {}
        self._templates: dict[str, objects.TemplateRecord] = {}
        self._changed: set[str] = set()  # digests to be joined anew
        self._own: set[str] = set()  # digests with a table of our own
        self._takers: dict[str, Callable[[str, bytes | None], object]] = {
            'templates': self._facts_taker(records.templates, self._facts),
            'pins': self._facts_taker(records.pins, self._pins),
            'deletions': self._facts_taker(records.deletions, self._deletions),
            'claims': self._take_claim,
            'placement': self._taker(records.placement, self._placement),
            'locations': self._taker(records.locations, self._places),
            'nodes': self._taker(records.nodes, self._nodes),
            'copies': self._take_copy,
            'heads': records.heads.read,
            'history': records.history.read,
        }

    def take(self, news: News) -> catalog_snapshot.Snapshot:
        """Take over *news*, the older ones first; return what is now."""
        self._changed.clear()
        self._own.clear()
        for each in news:
            taker = self._takers.get(self._records.kind(each.key))
            if taker is not None:
                taker(each.key, each.value)
        for digest in self._own:
            if not self._copies[digest]:
                del self._copies[digest]
        for digest in sorted(self._changed):
            _set(self._templates, digest, self._join(digest))
        return catalog_snapshot.Snapshot(
            templates=dict(self._templates),
            locations={
                name: catalog_locations.join(each, self._placement.get(name))
                for name, each in self._places.items()
            },
            copies=dict(self._copies),
            nodes=dict(self._nodes),
            bad=self._records.bad.reasons(),
        )

    def _join(self, digest: str) -> objects.TemplateRecord | None:
        facts = self._facts.get(digest)
        if facts is None:
            return None
        deletion = self._deletions.get(digest)
        return objects.TemplateRecord(
            facts,
            tuple(sorted(self._claims.get(digest, {}).values())),
            digest in self._pins,
            deletion.deleted_at if deletion else None,
        )

    @staticmethod
    def _taker(
        table: catalog_records.Table[Any], target: dict[str, Any]
    ) -> Callable[[str, bytes | None], None]:
        def take(key: str, value: bytes | None) -> None:
            _set(target, table.name_in(key), table.read(key, value))

        return take

    def _facts_taker(
        self, table: catalog_records.Table[Any], target: dict[str, Any]
    ) -> Callable[[str, bytes | None], None]:
        take_over = self._taker(table, target)

        def take(key: str, value: bytes | None) -> None:
            take_over(key, value)
            self._changed.add(table.name_in(key))

        return take

    def _take_claim(self, key: str, value: bytes | None) -> None:
        table = self._records.claims
        digest, _, image = table.name_in(key).partition('/')
        claim = table.read(key, value)
        _set(
            self._claims.setdefault(digest, {}),
            image,
            claim and claim.image_id,
        )
        self._changed.add(digest)

    def _take_copy(self, key: str, value: bytes | None) -> None:
        table = self._records.copies
        location_id, _, digest = table.name_in(key).rpartition('/')
        if digest not in self._own:
            # The table of before is in a snapshot that was given out.
            self._copies[digest] = dict(self._copies.get(digest, {}))
            self._own.add(digest)
        _set(self._copies[digest], location_id, table.read(key, value))


def _set(table: dict[str, Any], name: str, value: Any) -> None:
    """Set an entry of a table; None removes it."""
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value
