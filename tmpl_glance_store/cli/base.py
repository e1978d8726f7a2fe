"""What the commands share: the catalog, and how figures are shown."""

import time
from typing import Any

from cliff import lister
from cliff import show

from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import opts
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.placement import contract as placement


class _OnCluster:
    """A command that looks at the cluster of the configuration."""

    app: Any

    @property
    def catalog(self) -> catalog_domain.Catalog:
        """What the cluster knows."""
        return self.app.catalog

    @property
    def options(self) -> opts.Options:
        """The options of this node."""
        return self.app.store_options


class Lister(_OnCluster, lister.Lister):
    """A command that shows rows; ``-f json`` and the like come from cliff."""


class ShowOne(_OnCluster, show.ShowOne):
    """A command that shows one thing; see :class:`Lister`."""


def policy(options: opts.Options,
           catalog: catalog_domain.Catalog) -> placement.Policy:
    """Return the placement policy over the cluster's locations now."""
    return factory.build_policy(options, catalog.locations())


def digest_of(catalog: catalog_domain.Catalog, name: str) -> str:
    """Return the digest of *name*: an image id, a digest or its beginning.

    :raises NotFound: if there is no such template
    :raises Invalid: if the beginning fits several
    """
    try:
        return catalog.image(name).digest
    except exceptions.NotFound:
        found = [record.template.digest for record in catalog.templates()
                 if record.template.digest.startswith(name)]
    if len(found) > 1:
        raise exceptions.Invalid(
            f'{name} is the beginning of {len(found)} digests; give more')
    if not found:
        raise exceptions.NotFound(f'no image or template {name}')
    return found[0]


def moment(seconds: float | None) -> str:
    """Return a point in time as people write it, in UTC."""
    if seconds is None:
        return ''
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(seconds))
