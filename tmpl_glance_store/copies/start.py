# SPDX-License-Identifier: Apache-2.0
"""This host's locations: opened, recorded, and cleaned up after crashes."""

import dataclasses
import logging
import os

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import store as local_store

LOG = logging.getLogger(__name__)


class Start:
    """What each process does with this host's locations before others use it.

    :param store: this host's locations
    """

    def __init__(
        self,
        catalog: catalog_domain.Catalog,
        store: local_store.LocalStore,
        keeper: keeping.Keeper,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._keeper = keeper
        self._opened: set[str] = set()

    def open(self, known: list[objects.Location] | None = None) -> bool:
        """Attach this host's locations, and clean up after crashes.

        May be called again: locations that were refused are tried anew.

        :param known: the cluster's locations, if the caller knows them
        :returns: whether there is a new location
        :raises Unavailable: if the catalog cannot be reached
        """
        if known is None:
            known = self._catalog.locations.all()
        self._store.attach(known)
        new = [
            location
            for location in self._store.locations
            if location.record.id not in self._opened
        ]
        for location in new:
            self._register(location, known)
            self._recover(location)
        if new:
            self._forget_deleted()
            self._opened.update(location.record.id for location in new)
        return bool(new)

    def _register(
        self, location: local.LocalLocation, known: list[objects.Location]
    ) -> None:
        """Record a location; another one that was at its path is lost."""
        self._catalog.locations.put(location.record)
        for each in known:
            if (
                each.node == location.record.node
                and each.path == location.record.path
                and each.id != location.record.id
                and each.state != objects.LOST
            ):
                LOG.warning(
                    'Location %s at %s was replaced by %s',
                    each.id,
                    each.path,
                    location.record.id,
                )
                self._catalog.locations.put(
                    dataclasses.replace(each, state=objects.LOST)
                )
                for digest in self._catalog.copies.in_location(each.id):
                    self._catalog.copies.forget(digest, each.id)

    def _recover(self, location: local.LocalLocation) -> None:
        """Clean a location up, and bring catalog and disk into agreement."""
        recorded = self._catalog.copies.in_location(location.record.id)
        try:
            left = location.clean_incoming()
            if left:
                LOG.info(
                    'Removed %d unfinished writes from %s',
                    left,
                    location.paths.root,
                )
            for path in location.paths.entries():
                self._keeper.settle(
                    path, location, recorded.pop(os.path.basename(path), None)
                )
        except (OSError, exceptions.WriteDenied) as exc:
            # Its copies can be read all the same; a later start cleans up.
            LOG.warning(
                'Location %s cannot be cleaned: %s', location.paths.root, exc
            )
            return
        for digest in recorded:
            self._keeper.forget(digest, location)

    def _forget_deleted(self) -> None:
        """Remove the records of deleted templates whose copies are gone."""
        for record in self._catalog.bindings.templates():
            if record.deleted_at is not None:
                self._catalog.bindings.forget(record.template.digest)
