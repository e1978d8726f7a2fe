# SPDX-License-Identifier: Apache-2.0
"""The wiring of an agent.

It stands apart from ``factory``, because glance-api has no libtorrent and no
cheroot.
"""

import functools
import uuid

import prometheus_client

from tmpl_glance_store import factory
from tmpl_glance_store import imagecache
from tmpl_glance_store import objects
from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store import tls
from tmpl_glance_store import version
from tmpl_glance_store.agent import absences
from tmpl_glance_store.agent import act
from tmpl_glance_store.agent import base_files
from tmpl_glance_store.agent import fetching as agent_fetching
from tmpl_glance_store.agent import lease as agent_lease
from tmpl_glance_store.agent import loop as agent_loop
from tmpl_glance_store.agent import metrics as agent_metrics
from tmpl_glance_store.agent import passes
from tmpl_glance_store.agent import places
from tmpl_glance_store.agent import reconciler as agent_reconciler
from tmpl_glance_store.agent import report as agent_report
from tmpl_glance_store.agent import scrubber as agent_scrubber
from tmpl_glance_store.agent import seeding as agent_seeding
from tmpl_glance_store.agent import service
from tmpl_glance_store.agent import systemd
from tmpl_glance_store.agent import transfers as agent_transfers
from tmpl_glance_store.agent import watch as agent_watch
from tmpl_glance_store.agent.http import application
from tmpl_glance_store.agent.http import listener
from tmpl_glance_store.catalog import view as catalog_view
from tmpl_glance_store.options import agent as agent_opts
from tmpl_glance_store.options import nova as nova_opts
from tmpl_glance_store.options import store as opts


def build_agent(
    options: opts.Options,
    agent_options: agent_opts.AgentOptions,
    nova_options: nova_opts.NovaOptions | None = None,
) -> service.Service:
    """Return the agent that the options describe, not running yet.

    :param nova_options: on a compute node

    :raises BadConfiguration: if they contradict each other, or an address
        cannot be used
    """
    return _Parts(options, agent_options, nova_options).service


def reload_agent(
    agent: service.Service, agent_options: agent_opts.AgentOptions
) -> None:
    """Let an agent take over the options that can change while it runs."""
    agent.reload(
        upload_limit=agent_options.upload_limit,
        download_limit=agent_options.download_limit,
        scrub_rate=agent_options.scrub_rate,
        scrub_period=agent_options.scrub_period,
        interval=agent_options.interval,
    )


class _Parts:
    """The parts of one agent, each built when another one asks for it."""

    def __init__(
        self,
        options: opts.Options,
        agent_options: agent_opts.AgentOptions,
        nova_options: nova_opts.NovaOptions | None,
    ) -> None:
        self._options = options
        self._agent = agent_options
        self._nova = nova_options
        self._wake = agent_loop.Wake()
        self._registry = prometheus_client.CollectorRegistry()
        self._instance = uuid.uuid4().hex

    @functools.cached_property
    def service(self) -> service.Service:
        """The whole."""
        return service.Service(
            identity=self._identity,
            api=self._api,
            loop=self._loop,
            lease=self._lease,
            watch=self._watch,
            scrubber=self._scrubber,
            transfers=self._transfers,
            swarm=self._swarm,
            image_cache=self._image_cache,
        )

    def _identity(self) -> objects.Node:
        return objects.Node(
            self._options.node,
            self._api.url,
            f'{self._agent.host}:{self._swarm.port}',
            version.RELEASE,
            instance=self._instance,
        )

    # What the node stands on

    @functools.cached_property
    def _host(self) -> factory.Parts:
        return factory.Parts(self._options)

    @functools.cached_property
    def _view(self) -> catalog_view.View:
        return catalog_view.View(self._host.catalog)

    @functools.cached_property
    def _tls(self) -> tls.Files | None:
        return factory.tls_files(self._options.tls)

    @functools.cached_property
    def _swarm(self) -> swarm_package.Swarm:
        swarm = swarm_package.Swarm(
            host=self._agent.host,
            port=self._agent.swarm_port,
            tls=self._tls,
            upload_limit=self._agent.upload_limit,
            download_limit=self._agent.download_limit,
            ended=lambda digest: self._transfers.told(digest),
        )
        agent_metrics.SwarmMetrics(self._registry, lambda: swarm.traffic)
        return swarm

    @functools.cached_property
    def _image_cache(self) -> imagecache.ImageCache | None:
        if self._nova is None:
            return None
        cache = imagecache.ImageCache(self._nova, ended=self._wake.set)
        agent_metrics.ImageCacheMetrics(
            self._registry, lambda: cache.outcome.states.values()
        )
        return cache

    # The passes

    @functools.cached_property
    def _loop(self) -> agent_loop.Loop:
        return agent_loop.Loop(
            make_pass=passes.Pass(
                identity=self._identity,
                reconciler=self._reconciler,
                transfers=self._transfers,
                lease=self._lease,
                metrics=self._metrics,
                remember=self._host.start.remember,
            ),
            on_failure=self._metrics.failed_passes.inc,
            interval=self._agent.interval,
            wake=self._wake,
        )

    @functools.cached_property
    def _reconciler(self) -> agent_reconciler.Reconciler:
        return agent_reconciler.Reconciler(
            node=self._options.node,
            view=self._view,
            store=self._host.store,
            open_locations=self._host.start.open,
            policy=self._host.policy,
            everywhere=functools.partial(
                factory.build_policy,
                self._options.placement.everywhere(),
            ),
            absences=absences.Absences(
                node=self._options.node, delay=self._agent.rebuild_delay
            ),
            transfers=self._transfers,
            fetching=self._fetching,
            actor=act.Actor(
                store=self._host.store,
                keeper=self._host.keeper,
                fetching=self._fetching,
                seeding=self._seeding,
            ),
            places=places.Places(
                node=self._options.node,
                catalog=self._host.catalog,
                store=self._host.store,
            ),
            base_files=(
                base_files.BaseFiles(
                    self._image_cache, self._host.catalog.copies.published
                )
                if self._image_cache is not None
                else base_files.Step()
            ),
        )

    @functools.cached_property
    def _transfers(self) -> agent_transfers.Transfers:
        return agent_transfers.Transfers(
            keeper=self._host.keeper,
            swarm=self._swarm,
            remote=self._host.remote,
            limit=self._agent.transfers,
            ended=self._wake.set,
        )

    @functools.cached_property
    def _fetching(self) -> agent_fetching.Fetching:
        return agent_fetching.Fetching(
            node=self._options.node,
            store=self._host.store,
            transfers=self._transfers,
        )

    @functools.cached_property
    def _seeding(self) -> agent_seeding.Seeding:
        return agent_seeding.Seeding(
            node=self._options.node,
            store=self._host.store,
            swarm=self._swarm,
            transfers=self._transfers,
        )

    @functools.cached_property
    def _metrics(self) -> agent_metrics.AgentMetrics:
        return agent_metrics.AgentMetrics(
            self._registry, lambda: len(self._transfers)
        )

    # Beside the passes

    @functools.cached_property
    def _lease(self) -> agent_lease.Lease:
        return agent_lease.Lease(
            catalog=self._host.catalog,
            ttl=self._agent.lease,
            on_loss=self._wake.set,
        )

    @functools.cached_property
    def _watch(self) -> agent_watch.Watch:
        cache = self._image_cache
        return agent_watch.Watch(
            view=self._view,
            wake=self._wake,
            looked=functools.partial(systemd.notify, systemd.ALIVE),
            downloads_began=(
                cache.downloads_began if cache is not None else lambda: False
            ),
        )

    @functools.cached_property
    def _scrubber(self) -> agent_scrubber.Scrubber:
        cache = self._image_cache
        return agent_scrubber.Scrubber(
            catalog=self._host.catalog,
            keeper=self._host.keeper,
            store=self._host.store,
            copies=lambda: self._view.snapshot.copies,
            rate=self._agent.scrub_rate,
            period=self._agent.scrub_period,
            on_proved=self._metrics.scrubbed.inc,
            on_bad=self._found_bad,
            files=cache.due if cache is not None else lambda period: (),
        )

    def _found_bad(self, digest: str) -> None:
        self._metrics.quarantined.inc()
        self._wake.set(refresh=True)

    @functools.cached_property
    def _report(self) -> agent_report.Report:
        cache = self._image_cache
        return agent_report.Report(
            node=self._options.node,
            release=version.RELEASE,
            problem=lambda: self._loop.problem,
            store=self._host.store,
            transfers=self._transfers,
            fetching=self._fetching,
            seeding=self._seeding,
            images=cache.base_files if cache is not None else lambda: (),
        )

    @functools.cached_property
    def _api(self) -> listener.Listener:
        metrics = agent_metrics.ApiMetrics(self._registry)
        return listener.Listener(
            application.Application(
                find_copy=self._host.store.directory_of,
                status=self._report.status,
                healthy=lambda: self._loop.healthy(),
                registry=self._registry,
                metrics=metrics,
            ),
            host=self._agent.host,
            port=self._agent.api_port,
            context=tls.server(self._tls) if self._tls else None,
            metrics=metrics,
        )
