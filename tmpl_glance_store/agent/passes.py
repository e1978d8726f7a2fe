# SPDX-License-Identifier: Apache-2.0
"""A pass, and what the cluster and the operator learn of it."""

import dataclasses
from collections.abc import Callable

from tmpl_glance_store import objects
from tmpl_glance_store.agent import lease as agent_lease
from tmpl_glance_store.agent import metrics as agent_metrics
from tmpl_glance_store.agent import reconciler as agent_reconciler
from tmpl_glance_store.agent import transfers as agent_transfers


class Pass:
    """Makes a pass each time that it is called.

    :param identity: returns this node, without what it does right now
    :param remember: lets the disks remember which catalog this was
    """

    def __init__(
        self,
        *,
        identity: Callable[[], objects.Node],
        reconciler: agent_reconciler.Reconciler,
        transfers: agent_transfers.Transfers,
        lease: agent_lease.Lease,
        metrics: agent_metrics.AgentMetrics,
        remember: Callable[[], None] = lambda: None,
    ) -> None:
        self._identity = identity
        self._reconciler = reconciler
        self._transfers = transfers
        self._lease = lease
        self._metrics = metrics
        self._remember = remember

    def __call__(self, refresh: bool) -> float | None:
        """Make a pass; return the seconds until time alone changes something.

        :param refresh: whether the catalog may have changed
        :raises Unavailable: if the catalog cannot be reached
        :raises Duplicate: if another agent lives under this name
        """
        if not self._lease.is_held:
            # First: two of one name would undo each other's work for ever.
            self._lease.announce(self._identity())
        todo = self._reconciler.run(refresh)
        self._lease.announce(
            dataclasses.replace(
                self._identity(),
                fetching=tuple(sorted(self._transfers.digests)),
                full=tuple(sorted(todo.full)),
            )
        )
        self._metrics.passed(todo)
        self._remember()
        return self._reconciler.next_change()
