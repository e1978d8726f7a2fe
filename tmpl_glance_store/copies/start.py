# SPDX-License-Identifier: Apache-2.0
"""This host's locations: opened, recorded, and cleaned up after crashes."""

import contextlib
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
        if new:
            with contextlib.suppress(exceptions.Forbidden):
                self._catalog.history.begin()
            self._catalog.history.check()
        for location in new:
            self._register(location, known)
            self._recover(location)
        if new:
            self._forget_deleted()
            self._opened.update(location.record.id for location in new)
            self.remember()
        return bool(new)

    def remember(self) -> None:
        """Let the disks remember what was seen of the catalog."""
        seen = self._catalog.history.last
        if seen is not None:
            self._store.remember(seen)

    def _register(
        self, location: local.LocalLocation, known: list[objects.Location]
    ) -> None:
        """Record a location; a new one takes the place of that at its path.

        One that is known already has moved there, as when two disks have
        changed places: then the other one is only somewhere else.
        """
        record = location.record
        same = [each for each in known if each.id == record.id]
        self._catalog.locations.put(location.describe(*same))
        if same:
            return
        for each in known:
            if (each.node, each.path) == (record.node, record.path):
                LOG.warning(
                    'Location %s at %s was replaced by %s',
                    each.id,
                    each.path,
                    record.id,
                )
                self._catalog.locations.forget(each.id)

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
        for digest in self._catalog.bindings.deleted():
            self._keeper.forget_template(digest)
