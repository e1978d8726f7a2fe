# SPDX-License-Identifier: Apache-2.0
"""The wiring: builds collaborators from options.

What only an agent has is in ``agent_factory``.
"""

import functools
import urllib.parse
from collections.abc import Callable
from typing import Any

from stevedore import driver

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store import repository
from tmpl_glance_store import tls
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.catalog import contract as catalog_contract
from tmpl_glance_store.localstore import store as local_store
from tmpl_glance_store.options import placement as placement_opts
from tmpl_glance_store.options import store as opts
from tmpl_glance_store.placement import contract as placement
from tmpl_glance_store.remote import templates as remote_templates


def build_repository(
    options: opts.Options, on_step: Callable[[str], None] = lambda step: None
) -> repository.Repository:
    """Return the repository that *options* describe, not opened yet.

    :param on_step: see :class:`repository.Repository`
    :raises BadConfiguration: if an option names something unknown
    """
    build_policy(options, [])  # an unknown name should not wait for uploads
    return repository.Repository(
        options=options,
        catalog=build_catalog(options),
        store=local_store.LocalStore(options),
        make_policy=functools.partial(build_policy, options),
        remote=build_remote(options),
        on_step=on_step,
    )


def build_catalog(options: opts.Options) -> catalog.Catalog:
    """Return the cluster's catalog."""
    return catalog.Catalog(
        build_catalog_store(options.catalog), options.cluster
    )


def build_remote(options: opts.Options) -> remote_templates.RemoteTemplates:
    """Return the way to the templates that other nodes hold."""
    files = tls_files(options)
    return remote_templates.RemoteTemplates(
        context=tls.client(files) if files else None,
        timeout=options.read_timeout,
    )


def tls_files(options: opts.Options) -> tls.Files | None:
    """Return the files for mutual TLS; None if there are none.

    :raises BadConfiguration: if only some are named
    """
    return tls.Files.read(
        options.tls_ca, options.tls_certificate, options.tls_key
    )


def build_catalog_store(url: str) -> catalog_contract.KeyValue:
    """Return the key-value driver for the catalog's URL."""
    scheme = urllib.parse.urlsplit(url).scheme.partition('+')[0]
    store: catalog_contract.KeyValue = _plugin(
        'catalog', 'tmpl_store_catalog', scheme
    )(url)
    return store


def build_policy(
    options: opts.Options, locations: list[objects.Location]
) -> placement.Policy:
    """Return the placement policy for the cluster's locations.

    ``auto`` is ``hash_range`` as soon as there is one active SSD location.
    """
    name = options.placement
    if name == placement_opts.AUTO:
        name = (
            'hash_range'
            if placement.candidates(locations, objects.SSD)
            else 'all_nodes'
        )
    policy: placement.Policy = _plugin(
        'placement', 'tmpl_store_placement', name
    )(locations, options.copies)
    return policy


@functools.lru_cache
def _plugin(namespace: str, option: str, name: str) -> Any:
    try:
        return driver.DriverManager(
            f'tmpl_glance_store.{namespace}', name
        ).driver
    except RuntimeError as exc:
        raise exceptions.BadConfiguration(
            f'{option}: there is no {name!r} ({exc})'
        ) from exc
