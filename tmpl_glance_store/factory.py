# SPDX-License-Identifier: Apache-2.0
"""The wiring: builds collaborators from options.

What only an agent has is in ``agent_factory``.
"""

import functools
import urllib.parse
from collections.abc import Callable

from tmpl_glance_store import objects
from tmpl_glance_store import repository
from tmpl_glance_store import tls
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.catalog import contract as catalog_contract
from tmpl_glance_store.localstore import store as local_store
from tmpl_glance_store.options import placement as placement_options
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store as opts
from tmpl_glance_store.options import tls as tls_options
from tmpl_glance_store.placement import contract as placement
from tmpl_glance_store.remote import templates as remote_templates


def build_repository(
    options: opts.Options, on_step: Callable[[str], None] = lambda step: None
) -> repository.Repository:
    """Return the repository that *options* describe, not opened yet.

    :param on_step: see :class:`repository.Repository`
    :raises BadConfiguration: if an option names something unknown
    """
    # What is unknown or makes no sense should not wait for uploads.
    build_policy(options.placement, [])
    return repository.Repository(
        catalog=build_catalog(options),
        store=local_store.LocalStore(options.locations),
        make_policy=functools.partial(build_policy, options.placement),
        placement_name=options.placement.name,
        write_timeout=options.uploads.write_timeout,
        min_copies=options.uploads.min_copies,
        remote=build_remote(options),
        on_step=on_step,
    )


def build_catalog(options: opts.Options) -> catalog.Catalog:
    """Return the cluster's catalog."""
    return catalog.Catalog(
        build_catalog_store(options.catalog.url, options.catalog.brought),
        options.cluster,
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
    return tls.Files.read(options.ca, options.certificate, options.key)


def build_catalog_store(
    url: str, brought: plugins.Reader = plugins.defaults
) -> catalog_contract.KeyValue:
    """Return the key-value driver for the catalog's URL.

    :param brought: reads the options that the driver brings
    :raises BadConfiguration: if there is none, or an option makes no sense
    """
    scheme = urllib.parse.urlsplit(url).scheme.partition('+')[0]
    plugin = plugins.load('catalog', 'tmpl_store_catalog', scheme)
    store: catalog_contract.KeyValue = plugin(
        url, **brought(plugins.options_of(plugin))
    )
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
