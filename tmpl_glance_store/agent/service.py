# SPDX-License-Identifier: Apache-2.0
"""The life of an agent: its threads, and the order of its end."""

import logging
import threading
from collections.abc import Callable

from tmpl_glance_store import imagecache
from tmpl_glance_store import objects
from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store.agent import lease as agent_lease
from tmpl_glance_store.agent import loop as agent_loop
from tmpl_glance_store.agent import scrubber as agent_scrubber
from tmpl_glance_store.agent import systemd
from tmpl_glance_store.agent import transfers as agent_transfers
from tmpl_glance_store.agent import watch as agent_watch
from tmpl_glance_store.agent.http import listener

LOG = logging.getLogger(__name__)

_FAREWELL = 2  # seconds at the end for the catalog to answer


class Service:
    """Runs the parts of an agent, and ends them.

    :param identity: returns this node as others see it, once its API listens
    :param image_cache: Nova's, on a compute node
    """

    def __init__(
        self,
        *,
        identity: Callable[[], objects.Node],
        api: listener.Listener,
        loop: agent_loop.Loop,
        lease: agent_lease.Lease,
        watch: agent_watch.Watch,
        scrubber: agent_scrubber.Scrubber,
        transfers: agent_transfers.Transfers,
        swarm: swarm_package.Swarm,
        image_cache: imagecache.ImageCache | None = None,
    ) -> None:
        self._identity = identity
        self._api = api
        self._loop = loop
        self._lease = lease
        self._watch = watch
        self._scrubber = scrubber
        self._transfers = transfers
        self._swarm = swarm
        self._image_cache = image_cache
        self._ending = threading.Event()

    def run(self) -> None:
        """Serve until :meth:`stop` is called."""
        self._api.start()
        for name, target in (
            ('lease', lambda: self._lease.keep(self._ending)),
            ('watch', lambda: self._watch.run(self._ending)),
            ('scrub', self._scrubber.run),
        ):
            threading.Thread(target=target, daemon=True, name=name).start()
        systemd.notify(systemd.READY)
        here = self._identity()
        LOG.info('Node %s serves %s and %s', here.name, here.api, here.swarm)
        try:
            self._loop.run()
        finally:
            self._end()

    def stop(self) -> None:
        """End :meth:`run` within seconds."""
        self._ending.set()
        self._loop.stop()

    def reload(
        self,
        *,
        upload_limit: int,
        download_limit: int,
        scrub_rate: int,
        scrub_period: float,
        interval: float,
    ) -> None:
        """Take over what can change while the agent runs.

        Limits and rates are in bytes per second, the others in seconds.
        """
        self._swarm.set_limits(upload_limit, download_limit)
        self._scrubber.rate = scrub_rate
        self._scrubber.period = scrub_period
        self._loop.set_interval(interval)
        LOG.info('The limits were read again')

    def _end(self) -> None:
        systemd.notify(systemd.STOPPING)
        self._ending.set()
        self._scrubber.stop()
        if self._image_cache is not None:
            self._image_cache.close()
        # Meanwhile: a catalog that hangs must not keep the rest from ending.
        farewell = threading.Thread(target=self._lease.end, daemon=True)
        farewell.start()
        self._transfers.close()
        self._swarm.close()
        self._api.stop()
        farewell.join(_FAREWELL)
