# SPDX-License-Identifier: Apache-2.0
"""The life of an agent: its lease, its threads, and its end."""

import dataclasses
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Set
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store import imagecache
from tmpl_glance_store import objects
from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store.agent import metrics as agent_metrics
from tmpl_glance_store.agent import reconciler as agent_reconciler
from tmpl_glance_store.agent import scrubber as agent_scrubber
from tmpl_glance_store.agent import transfers as agent_transfers
from tmpl_glance_store.agent.http import listener as agent_listener
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog import snapshot as catalog_view
from tmpl_glance_store.options import store as opts

LOG = logging.getLogger(__name__)

_GATHER = 0.1  # seconds in which several events wake one pass
_RETRY = 2  # seconds after a pass that failed
_FAREWELL = 2  # seconds at the end for the catalog to answer


class Wake:
    """Wakes the loop; knows whether the catalog may have changed."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._refresh = True

    def set(self, refresh: bool = False) -> None:
        """Wake the loop; *refresh* if the catalog may have changed."""
        self._refresh |= refresh
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Wait until woken, or for *seconds*."""
        self._event.wait(seconds)

    def take(self) -> bool:
        """Return whether the catalog may have changed, and forget it."""
        self._event.clear()
        refresh, self._refresh = self._refresh, False
        return refresh


class Service:
    """Runs the reconcile loop, and all that goes with it.

    :param node: the name of this node
    :param lease: seconds that this node lives on without a sign of life
    :param interval: seconds between passes that nothing else has caused
    :param image_cache: Nova's, on a compute node
    """

    def __init__(
        self,
        *,
        node: str,
        release: str,
        lease: int,
        interval: float,
        catalog: catalog_domain.Catalog,
        view: catalog_view.View,
        wake: Wake,
        swarm: swarm_package.Swarm,
        transfers: agent_transfers.Transfers,
        reconciler: agent_reconciler.Reconciler,
        scrubber: agent_scrubber.Scrubber,
        metrics: agent_metrics.AgentMetrics,
        image_cache: imagecache.ImageCache | None,
        swarm_host: str,
        make_api: Callable[['Service'], agent_listener.Listener],
    ) -> None:
        self._node = node
        self._release = release
        self._ttl = lease
        self._interval = interval
        self._catalog = catalog
        self._view = view
        self._wake = wake
        self._swarm = swarm
        self._transfers = transfers
        self._reconciler = reconciler
        self._scrubber = scrubber
        self._metrics = metrics
        self._image_cache = image_cache
        self._swarm_endpoint = f'{swarm_host}:{swarm.port}'
        self._api = make_api(self)
        self._lease: int | None = None
        self._announced: objects.Node | None = None
        self._stopped = threading.Event()
        self._problem: str | None = 'no pass has been made yet'
        self._last_pass = 0.0

    @property
    def api_url(self) -> str:
        """The base URL of this agent's API, once it runs."""
        return self._api.url

    def run(self) -> None:
        """Serve until :meth:`stop` is called."""
        self._api.start()
        threads = [
            threading.Thread(target=each, daemon=True, name=name)
            for name, each in (
                ('lease', self._live),
                ('watch', self._watch),
                ('scrub', self._scrubber.run),
            )
        ]
        for thread in threads:
            thread.start()
        notify('READY=1')
        LOG.info(
            'Node %s serves %s and %s',
            self._node,
            self.api_url,
            self._swarm_endpoint,
        )
        try:
            while not self._stopped.is_set():
                self._pass()
        finally:
            self._end()

    def stop(self) -> None:
        """End :meth:`run` within seconds."""
        self._stopped.set()
        self._wake.set()

    def status(self) -> dict[str, Any]:
        """Return what ``/v1/status`` shows."""
        return {
            'node': self._node,
            'release': self._release,
            'problem': self._problem,
            'transfers': self._transfers.status(),
            'copies': self._reconciler.status(),
            'images': [
                dataclasses.asdict(each)
                for each in (
                    self._image_cache.base_files() if self._image_cache else ()
                )
            ],
        }

    def healthy(self) -> tuple[bool, str]:
        """Tell whether passes are being made, and what hinders them."""
        if self._problem:
            return False, self._problem
        age = time.monotonic() - self._last_pass
        if age > 3 * self._interval + 60:
            return False, f'the last pass ended {age:.0f} s ago'
        return True, 'ok'

    def reload(self, options: opts.AgentOptions) -> None:
        """Take over the options that can change while the agent runs."""
        self._swarm.set_limits(options.upload_limit, options.download_limit)
        self._scrubber.rate = options.scrub_rate
        self._scrubber.period = options.scrub_period
        self._interval = options.interval
        self._wake.set()
        LOG.info('The limits were read again')

    # The loop

    def _pass(self) -> None:
        refresh = self._wake.take()
        pause = self._interval
        try:
            todo = self._reconciler.run(refresh)
            self._announce(todo.full)
            self._problem, self._last_pass = None, time.monotonic()
            self._metrics.passed(todo)
        except Exception as exc:
            # Whatever it was: the state is on disk and in the catalog, and
            # the next pass begins from there.
            self._failed(exc)
            self._wake.set(refresh=True)
            self._stopped.wait(_RETRY)
            return
        later = self._reconciler.next_change()
        self._wake.wait(pause if later is None else min(pause, later))
        self._stopped.wait(_GATHER)

    def _failed(self, exc: Exception) -> None:
        if isinstance(exc, exceptions.TmplError):
            LOG.warning('The pass failed: %s', exc)
        else:
            LOG.error('The pass failed', exc_info=exc)
        self._problem = str(exc)
        self._metrics.failed_passes.inc()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            notify('WATCHDOG=1')
            try:
                if self._view.wait(1):
                    self._wake.set(refresh=True)
                if self._image_cache and self._image_cache.downloads_began():
                    self._wake.set()
            except exceptions.Unavailable as exc:
                LOG.warning('The watch broke: %s', exc)
                self._stopped.wait(_RETRY)
        self._view.close()

    # The lease

    def _live(self) -> None:
        while not self._stopped.wait(self._ttl / 3):
            try:
                if self._lease is not None and not self._catalog.keep_alive(
                    self._lease
                ):
                    LOG.warning('The lease of node %s had expired', self._node)
                    self._lease = None
                    self._wake.set()
            except exceptions.Unavailable as exc:
                LOG.warning('The lease is not renewed: %s', exc)

    def _announce(self, full: Set[str]) -> None:
        """Record this node, unless the catalog has just that."""
        node = objects.Node(
            self._node,
            self.api_url,
            self._swarm_endpoint,
            self._release,
            tuple(sorted(self._transfers.digests)),
            tuple(sorted(full)),
        )
        if self._lease is not None and node == self._announced:
            return
        try:
            if self._lease is None:
                self._lease = self._catalog.grant(self._ttl)
            self._catalog.announce(node, self._lease)
            self._announced = node
        except exceptions.NotFound:
            self._lease = None
            self._wake.set()

    def _end(self) -> None:
        notify('STOPPING=1')
        self._stopped.set()
        self._scrubber.stop()
        if self._image_cache:
            self._image_cache.close()
        # Meanwhile: a catalog that hangs must not keep the rest from ending.
        farewell = threading.Thread(target=self._leave, daemon=True)
        farewell.start()
        self._transfers.close()
        self._swarm.close()
        self._api.stop()
        farewell.join(_FAREWELL)

    def _leave(self) -> None:
        if self._lease is not None:
            try:
                self._catalog.revoke(self._lease)
            except exceptions.TmplError as exc:
                LOG.warning('The lease ends by itself: %s', exc)


def notify(state: str) -> None:
    """Tell systemd of a change, if it wants to know; see sd_notify(3)."""
    address = os.environ.get('NOTIFY_SOCKET')
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(address.replace('@', '\0', 1))
            sock.sendall(state.encode())
        except OSError as exc:
            LOG.warning('systemd is not told %s: %s', state, exc)
