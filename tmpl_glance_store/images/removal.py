# SPDX-License-Identifier: Apache-2.0
"""Images go: unbound, and the last one takes the template along."""

import contextlib
from collections.abc import Callable

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.images import access as image_access
from tmpl_glance_store.images import url as image_url
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import store as local_store

#: The steps of a removal; see ``upload.ADD_STEPS``.
REMOVE_STEPS = ('unbound', 'withdrawn', 'copy forgotten', 'template forgotten')


class Removal:
    """Removes images.

    :param on_step: called with the name of each step when it is done
    """

    def __init__(
        self,
        *,
        catalog: catalog_domain.Catalog,
        store: local_store.LocalStore,
        keeper: keeping.Keeper,
        access: image_access.Access,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._keeper = keeper
        self._access = access
        self._step = on_step

    def remove(self, url: image_url.ImageUrl) -> None:
        """Unbind an image; the last one takes the template along.

        Copies on other nodes are removed by their agents.

        :raises NotFound: if there is no such image
        :raises WriteDenied: if the copy cannot be removed; nothing changed
        :raises Unavailable: if the catalog cannot be reached, or is not the
            one that this host knows
        """
        image = self._access.find(url)
        self._catalog.history.require()
        holders = [
            location
            for location in self._store.locations
            if location.holds(url.digest)
        ]
        for location in holders:
            with contextlib.suppress(exceptions.NoSpace):
                location.probe()
        last = self._catalog.bindings.unbind(image)
        self._step('unbound')
        if last:
            for location in holders:
                self._collect(image, location)
            self._catalog.bindings.forget(url.digest)
            self._step('template forgotten')
        self._access.note_catalog()

    def _collect(
        self, image: objects.Image, location: local.LocalLocation
    ) -> None:
        facts = self._catalog.bindings.facts(image.digest)
        try:
            self._keeper.collect(image.digest, location)
        except exceptions.WriteDenied:
            if facts is not None:  # nothing is removed: bind it again
                self._catalog.bindings.bind(image, facts, location.record.id)
            raise
