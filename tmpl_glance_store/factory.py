# SPDX-License-Identifier: Apache-2.0
"""The only wiring: builds collaborators from options."""

import dataclasses
import functools
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stevedore import driver

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store import repository
from tmpl_glance_store import tls
from tmpl_glance_store import version
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.catalog import contract as catalog_contract
from tmpl_glance_store.catalog import snapshot as catalog_view
from tmpl_glance_store.localstore import store as local_store
from tmpl_glance_store.options import store as opts
from tmpl_glance_store.placement import contract as placement
from tmpl_glance_store.remote import templates as peer

if TYPE_CHECKING:
    from tmpl_glance_store.agent import service


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
        peers=build_peers(options),
        on_step=on_step,
    )


def build_agent(
    options: opts.Options,
    agent_options: opts.AgentOptions,
    nova_options: opts.NovaOptions | None = None,
) -> 'service.Service':
    """Return the agent that the options describe, not running yet.

    :param nova_options: on a compute node

    :raises BadConfiguration: if they contradict each other, or an address
        cannot be used
    """
    # Here, not at the top: glance-api has no libtorrent and no cheroot.
    import prometheus_client

    from tmpl_glance_store import imagecache
    from tmpl_glance_store import swarm as swarm_package
    from tmpl_glance_store.agent import base_files
    from tmpl_glance_store.agent import metrics
    from tmpl_glance_store.agent import reconciler
    from tmpl_glance_store.agent import scrubber
    from tmpl_glance_store.agent import service
    from tmpl_glance_store.agent import transfers
    from tmpl_glance_store.agent.http import application as api
    from tmpl_glance_store.agent.http import listener

    files = tls_files(options)
    repo = build_repository(options)
    view = catalog_view.View(repo.catalog)
    wake = service.Wake()
    swarm = swarm_package.Swarm(
        host=agent_options.host,
        port=agent_options.swarm_port,
        tls=files,
        upload_limit=agent_options.upload_limit,
        download_limit=agent_options.download_limit,
        ended=lambda digest: moving.told(digest),
    )
    moving = transfers.Transfers(
        catalog=repo.catalog, swarm=swarm, peers=repo.peers, ended=wake.set
    )
    registry = prometheus_client.CollectorRegistry()
    counted = metrics.AgentMetrics(registry, lambda: len(moving))
    api_counted = metrics.ApiMetrics(registry)
    metrics.SwarmMetrics(registry, lambda: swarm.traffic)
    cache = (
        imagecache.ImageCache(nova_options, ended=wake.set)
        if nova_options
        else None
    )
    if cache is not None:
        metrics.ImageCacheMetrics(
            registry, lambda: cache.outcome.states.values()
        )

    def make_api(agent: service.Service) -> listener.Listener:
        return listener.Listener(
            api.Application(
                find_copy=repo.store.directory_of,
                status=agent.status,
                healthy=agent.healthy,
                registry=registry,
                metrics=api_counted,
            ),
            host=agent_options.host,
            port=agent_options.api_port,
            context=tls.server(files) if files else None,
            metrics=api_counted,
        )

    return service.Service(
        node=options.node,
        release=version.RELEASE,
        lease=agent_options.lease,
        interval=agent_options.interval,
        catalog=repo.catalog,
        view=view,
        wake=wake,
        swarm=swarm,
        transfers=moving,
        reconciler=reconciler.Reconciler(
            node=options.node,
            rebuild_delay=agent_options.rebuild_delay,
            limit=agent_options.transfers,
            repository=repo,
            view=view,
            swarm=swarm,
            transfers=moving,
            base_files=(
                base_files.BaseFiles(cache, repo.catalog) if cache else None
            ),
            everywhere=functools.partial(
                build_policy,
                dataclasses.replace(options, placement='all_nodes'),
            ),
        ),
        scrubber=scrubber.Scrubber(
            catalog=repo.catalog,
            store=repo.store,
            copies=lambda: view.snapshot.copies,
            rate=agent_options.scrub_rate,
            period=agent_options.scrub_period,
            on_proved=counted.scrubbed.inc,
            on_bad=lambda digest: (
                counted.quarantined.inc(),
                wake.set(refresh=True),
            ),
            files=cache.due if cache else lambda period: (),
        ),
        metrics=counted,
        image_cache=cache,
        swarm_host=agent_options.host,
        make_api=make_api,
    )


def build_catalog(options: opts.Options) -> catalog.Catalog:
    """Return the cluster's catalog."""
    return catalog.Catalog(
        build_catalog_store(options.catalog), options.cluster
    )


def build_peers(options: opts.Options) -> peer.RemoteTemplates:
    """Return the way to the templates that other nodes hold."""
    files = tls_files(options)
    return peer.RemoteTemplates(
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
    return _plugin('catalog', 'tmpl_store_catalog', scheme)(url)


def build_policy(
    options: opts.Options, locations: list[objects.Location]
) -> placement.Policy:
    """Return the placement policy for the cluster's locations.

    ``auto`` is ``hash_range`` as soon as there is one active SSD location.
    """
    name = options.placement
    if name == opts.AUTO:
        name = (
            'hash_range'
            if placement.candidates(locations, objects.SSD)
            else 'all_nodes'
        )
    return _plugin('placement', 'tmpl_store_placement', name)(
        locations, options.copies
    )


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
