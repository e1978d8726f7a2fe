# SPDX-License-Identifier: Apache-2.0
"""Which URLs are good, whether the catalog answers or not."""

import contextlib

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.copies import start as copies_start
from tmpl_glance_store.images import url as image_url


class Access:
    """Tells which image a URL stands for, and remembers it.

    :param start: opens this host's locations
    """

    def __init__(
        self,
        catalog: catalog_domain.Catalog,
        cluster: str,
        start: copies_start.Start,
    ) -> None:
        self._catalog = catalog
        self._cluster = cluster
        self._start = start
        self._known: dict[str, objects.Image] = {}
        self._has_learnt = False

    def open(self) -> None:
        """Open this host's locations; learn what can be read from them.

        May be called again: locations that were refused are tried anew.

        :raises Unavailable: if the catalog cannot be reached
        """
        if self._start.open() or not self._has_learnt:
            self._has_learnt = False
            self._known = {
                image.image_id.lower(): image
                for image in self._catalog.bindings.images()
            }
            self._has_learnt = True

    def remember(self, image: objects.Image) -> None:
        """Know an image that has just been bound."""
        self._known[image.image_id.lower()] = image
        self.note_catalog()

    def note_catalog(self) -> None:
        """Remember how far the catalog is now."""
        with contextlib.suppress(exceptions.Unavailable):
            self._catalog.history.check()
            self._start.remember()

    def find(self, url: image_url.ImageUrl) -> objects.Image:
        """Return the binding for which a URL stands.

        :raises NotFound: if the catalog does not know exactly this binding:
            who does not know the token learns nothing
        :raises Unavailable: if the catalog cannot be reached, and has not
            told of the image before
        """
        if url.cluster != self._cluster:
            raise _not_found(url)
        image = self._ask(url.image_id)
        if not image.is_bound(url.digest, url.token):
            raise _not_found(url)
        return image

    def _ask(self, image_id: str) -> objects.Image:
        try:
            image = self._catalog.bindings.image(image_id)
        except exceptions.NotFound:
            self._known.pop(image_id, None)
            raise
        except exceptions.Unavailable:
            # Fails open, for who knows the token: without the catalog, what
            # it said last counts, so that local reads go on.
            if image_id not in self._known:
                raise
            return self._known[image_id]
        self._known[image_id] = image
        return image


def _not_found(url: image_url.ImageUrl) -> exceptions.NotFound:
    return exceptions.NotFound(f'image {url.image_id} is not stored here')
