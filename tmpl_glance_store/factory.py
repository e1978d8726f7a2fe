# SPDX-License-Identifier: Apache-2.0
"""The wiring: builds collaborators from options.

What only an agent has is in ``agent_factory``.
"""

import functools
import urllib.parse
from collections.abc import Callable, Iterable

from tmpl_glance_store import objects
from tmpl_glance_store import tls
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.catalog import contract as catalog_contract
from tmpl_glance_store.catalog import history
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.copies import start
from tmpl_glance_store.images import access
from tmpl_glance_store.images import images
from tmpl_glance_store.images import reading
from tmpl_glance_store.images import removal
from tmpl_glance_store.images import target
from tmpl_glance_store.images import upload
from tmpl_glance_store.localstore import store as local_store
from tmpl_glance_store.options import placement as placement_options
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store as opts
from tmpl_glance_store.options import tls as tls_options
from tmpl_glance_store.placement import contract as placement
from tmpl_glance_store.placement import latest
from tmpl_glance_store.remote import templates as remote_templates


class Parts:
    """The parts of this host, each built when another one asks for it.

    :param on_step: called with the name of each step of an upload or a
        removal when it is done
    :raises BadConfiguration: if an option names something unknown
    """

    def __init__(
        self,
        options: opts.Options,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        # What is unknown or makes no sense should not wait for uploads.
        build_policy(options.placement, [])
        self._options = options
        self._step = on_step

    @functools.cached_property
    def catalog(self) -> catalog.Catalog:
        """What the cluster knows."""
        return build_catalog(self._options, self.store.memories)

    @functools.cached_property
    def store(self) -> local_store.LocalStore:
        """The disks of this host."""
        return local_store.LocalStore(self._options.locations)

    @functools.cached_property
    def policy(self) -> latest.Latest:
        """Makes the placement policy over the cluster's locations."""
        return latest.Latest(
            functools.partial(build_policy, self._options.placement)
        )

    @functools.cached_property
    def keeper(self) -> keeping.Keeper:
        """Keeps disks and catalog in step."""
        return keeping.Keeper(self.catalog, self.store, self._step)

    @functools.cached_property
    def start(self) -> start.Start:
        """Opens the locations."""
        return start.Start(self.catalog, self.store, self.keeper)

    @functools.cached_property
    def remote(self) -> remote_templates.RemoteTemplates:
        """Reads from other nodes."""
        return build_remote(self._options)

    @functools.cached_property
    def images(self) -> images.Images:
        """What Glance asks for."""
        return images.Images(
            access=self._access,
            upload=self._upload,
            reading=reading.Reading(
                catalog=self.catalog,
                store=self.store,
                keeper=self.keeper,
                access=self._access,
                remote=self.remote,
            ),
            removal=self._removal,
            store=self.store,
        )

    @functools.cached_property
    def _access(self) -> access.Access:
        return access.Access(self.catalog, self._options.cluster, self.start)

    @functools.cached_property
    def _upload(self) -> upload.Upload:
        return upload.Upload(
            cluster=self._options.cluster,
            catalog=self.catalog,
            store=self.store,
            keeper=self.keeper,
            access=self._access,
            target=target.Target(
                self.catalog,
                self.store,
                self._options.placement.name,
                self.policy,
            ),
            removal=self._removal,
            min_copies=self._options.uploads.min_copies,
            write_timeout=self._options.uploads.write_timeout,
            on_step=self._step,
        )

    @functools.cached_property
    def _removal(self) -> removal.Removal:
        return removal.Removal(
            catalog=self.catalog,
            store=self.store,
            keeper=self.keeper,
            access=self._access,
            on_step=self._step,
        )


def build_catalog(
    options: opts.Options,
    memories: Callable[[], Iterable[history.Seen]] = tuple,
    *,
    create: bool = True,
) -> catalog.Catalog:
    """Return the cluster's catalog.

    :param memories: returns what this host remembers of it
    :param create: whether it may be made if there is none
    """
    return catalog.Catalog(
        build_catalog_store(
            options.catalog.url, options.catalog.brought, create=create
        ),
        options.cluster,
        memories=memories,
    )


def build_remote(options: opts.Options) -> remote_templates.RemoteTemplates:
    """Return the way to the templates that other nodes hold."""
    files = tls_files(options.tls)
    return remote_templates.RemoteTemplates(
        context=tls.client(files) if files else None,
        timeout=options.read_timeout,
    )


def tls_files(options: tls_options.Tls) -> tls.Files | None:
    """Return the files for mutual TLS; None if there are none.

    :raises BadConfiguration: if only some are named
    """
    return tls.Files.read(
        options.ca, options.certificate, options.key, options.crl
    )


def build_catalog_store(
    url: str,
    brought: plugins.Reader = plugins.defaults,
    *,
    create: bool = True,
) -> catalog_contract.KeyValue:
    """Return the key-value driver for the catalog's URL.

    :param brought: reads the options that the driver brings
    :param create: whether a store may be made if there is none
    :raises BadConfiguration: if there is none, or an option makes no sense
    """
    scheme = urllib.parse.urlsplit(url).scheme.partition('+')[0]
    plugin = plugins.load('catalog', 'tmpl_store_catalog', scheme)
    given = brought(plugins.options_of(plugin))
    if getattr(plugin, 'CREATES', False):
        given = {**given, 'create': create}
    store: catalog_contract.KeyValue = plugin(url, **given)
    return store


def build_policy(
    options: placement_options.Placement, locations: list[objects.Location]
) -> placement.Policy:
    """Return the placement policy for the cluster's locations.

    ``auto`` is ``hash_range`` as soon as there is one active SSD location.

    :raises BadConfiguration: if there is none, or an option makes no sense
    """
    name = options.name
    if name == placement_options.AUTO:
        name = (
            placement_options.HASH_RANGE
            if placement.candidates(locations, objects.SSD)
            else placement_options.ALL_NODES
        )
    plugin = plugins.load('placement', 'tmpl_store_placement', name)
    policy: placement.Policy = plugin(
        locations,
        options.copies,
        **options.brought(plugins.options_of(plugin)),
    )
    return policy
