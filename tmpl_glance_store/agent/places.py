# SPDX-License-Identifier: Apache-2.0
"""What this node tells the cluster of its disks."""

import dataclasses
import logging

from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog.snapshot import Snapshot
from tmpl_glance_store.localstore import store as local_store

LOG = logging.getLogger(__name__)

_NOT_NAMED = 'tmpl_store_locations of its node does not name it'


class Places:
    """Keeps the records of this node's locations as its disks are.

    :param node: the name of this node
    """

    def __init__(
        self,
        *,
        node: str,
        catalog: catalog_domain.Catalog,
        store: local_store.LocalStore,
    ) -> None:
        self._node = node
        self._catalog = catalog
        self._store = store

    def tell(self, now: Snapshot) -> None:
        """Record what has changed of a disk since *now*; once a pass.

        :raises Unavailable: if the catalog cannot be reached
        """
        for known in now.locations_of(self._node):
            here = self._now(known)
            if here != known:
                _log(known, here)
                self._catalog.locations.put(here)
        for location in self._store.locations:
            if location.record.id not in now.locations:
                LOG.warning(
                    'The catalog has lost location %s; it is recorded anew',
                    location.paths.root,
                )
                self._catalog.locations.put(location.describe())

    def _now(self, known: objects.Location) -> objects.Location:
        location = self._store.get(known.id)
        if location is not None:
            return location.describe(known)
        why = self._store.why_refused(known.path)
        if why is None:
            # Another process of this host may use it, such as glance-api.
            why = _NOT_NAMED
        return dataclasses.replace(
            known, health=objects.REFUSED, reason=why[:1000]
        )


def _log(known: objects.Location, here: objects.Location) -> None:
    if here.health == known.health:
        return
    LOG.log(
        logging.INFO if here.health == objects.WELL else logging.WARNING,
        'Location %s is %s now, and was %s%s',
        here.path,
        here.health,
        known.health,
        f': {here.reason}' if here.reason else '',
    )
