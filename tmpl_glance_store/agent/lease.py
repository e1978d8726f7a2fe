# SPDX-License-Identifier: Apache-2.0
"""The node's lease, and what it announces under it."""

import logging
import threading
from collections.abc import Callable

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain

LOG = logging.getLogger(__name__)


class Lease:
    """Lets the cluster know that this node lives, and what it does.

    The passes announce; :meth:`keep` renews, on a thread of its own.

    :param ttl: seconds that this node lives on without a sign of life
    :param on_loss: called when the node has to be announced anew
    """

    def __init__(
        self,
        *,
        catalog: catalog_domain.Catalog,
        ttl: int,
        on_loss: Callable[[], object],
    ) -> None:
        self._catalog = catalog
        self._ttl = ttl
        self._on_loss = on_loss
        self._lease: int | None = None
        self._announced: objects.Node | None = None

    def announce(self, node: objects.Node) -> None:
        """Record this node, unless the catalog has just that.

        :raises Unavailable: if the catalog cannot be reached
        :raises Duplicate: if another agent lives under this name
        """
        if self._lease is not None and node == self._announced:
            return
        try:
            if self._lease is None:
                self._lease = self._catalog.nodes.grant(self._ttl)
            self._catalog.nodes.announce(node, self._lease)
            self._announced = node
        except exceptions.NotFound:
            self._lost()

    @property
    def is_held(self) -> bool:
        """Whether the cluster knows of this node, as far as this tells."""
        return self._lease is not None and self._announced is not None

    def keep(self, stopped: threading.Event) -> None:
        """Renew the lease until *stopped*."""
        while not stopped.wait(self._ttl / 3):
            self.renew()

    def renew(self) -> None:
        """Give a sign of life."""
        try:
            if self._lease is not None and not self._catalog.nodes.keep_alive(
                self._lease
            ):
                LOG.warning('The lease of this node had expired')
                self._lost()
        except exceptions.Unavailable as exc:
            LOG.warning('The lease is not renewed: %s', exc)

    def end(self) -> None:
        """Let the cluster know that this node has gone."""
        if self._lease is not None:
            try:
                self._catalog.nodes.revoke(self._lease)
            except exceptions.TmplError as exc:
                LOG.warning('The lease ends by itself: %s', exc)

    def _lost(self) -> None:
        self._lease = self._announced = None
        self._on_loss()
