# SPDX-License-Identifier: Apache-2.0
"""One pass: observe, plan, act. Whatever wakes it, it is always the same."""

import logging
from collections.abc import Callable

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.agent import absences as agent_absences
from tmpl_glance_store.agent import act
from tmpl_glance_store.agent import base_files as agent_base_files
from tmpl_glance_store.agent import fetching as agent_fetching
from tmpl_glance_store.agent import observe
from tmpl_glance_store.agent import places as agent_places
from tmpl_glance_store.agent import plan
from tmpl_glance_store.agent import transfers as agent_transfers
from tmpl_glance_store.catalog import view as catalog_view
from tmpl_glance_store.catalog.snapshot import Snapshot
from tmpl_glance_store.localstore import store as local_store
from tmpl_glance_store.placement import contract as placement

LOG = logging.getLogger(__name__)

_MakePolicy = Callable[[list[objects.Location]], placement.Policy]


class Reconciler:
    """Brings one node closer to what it should hold.

    :param node: its name
    :param open_locations: opens the locations of this node, of the cluster's
        that it is given; returns whether there is a new one
    :param policy: builds the policy of the cluster
    :param everywhere: builds the policy of pinned templates
    """

    def __init__(
        self,
        *,
        node: str,
        view: catalog_view.View,
        store: local_store.LocalStore,
        open_locations: Callable[[list[objects.Location]], bool],
        policy: _MakePolicy,
        everywhere: _MakePolicy,
        absences: agent_absences.Absences,
        transfers: agent_transfers.Transfers,
        fetching: agent_fetching.Fetching,
        actor: act.Actor,
        base_files: agent_base_files.Step,
        places: agent_places.Places,
    ) -> None:
        self._node = node
        self._view = view
        self._store = store
        self._open_locations = open_locations
        self._policy = policy
        self._everywhere = everywhere
        self._absences = absences
        self._transfers = transfers
        self._fetching = fetching
        self._actor = actor
        self._base_files = base_files
        self._places = places
        self._snapshot: Snapshot | None = None

    def run(self, refresh: bool) -> plan.Plan:
        """Make one pass; return the plan that it carried out.

        :param refresh: whether the catalog may have changed; if not, the
            view is used as it is
        :raises Unavailable: if the catalog cannot be reached; transfers and
            seeding go on meanwhile
        """
        if refresh or self._snapshot is None:
            self._snapshot = None
            self._snapshot = self._look()
        now = self._snapshot
        self._places.tell(now)
        self._take_news(now)
        todo = self._plan(now)
        self._actor.act(todo, now)
        self._publish(now)
        return todo

    def next_change(self) -> float | None:
        """Return the seconds until time alone changes the plan, or None."""
        times = (
            self._absences.next_change(),
            self._transfers.next_change(),
            self._base_files.next_change(),
        )
        return min((each for each in times if each is not None), default=None)

    def _look(self) -> Snapshot:
        """Return what the catalog knows, this node's locations included."""
        now = self._view.update()
        if self._open_locations(list(now.locations.values())):
            # Without its own new location it would plan nonsense.
            now = self._view.reload()
        return now

    def _take_news(self, now: Snapshot) -> None:
        """Take in what has happened since the last pass."""
        self._absences.note(now)
        self._transfers.reap()
        here = {
            digest
            for location in observe.well(self._store)
            for digest in location.held()
        }
        self._base_files.take_downloads(now, here)

    def _plan(self, now: Snapshot) -> plan.Plan:
        locations = list(now.locations.values())
        seen = observe.observe(
            now,
            node=self._node,
            store=self._store,
            gone=self._absences.gone(),
            demand=self._base_files.demand,
        )
        return plan.make(
            seen, self._policy(locations), self._everywhere(locations)
        )

    def _publish(self, now: Snapshot) -> None:
        arriving = self._fetching.arriving(now)
        try:
            self._base_files.run(
                now,
                observe.well(self._store),
                arriving,
                arriving & self._transfers.paused,
            )
        except exceptions.Unavailable:
            raise
        except Exception:
            # Whatever Nova's directories are like: this node holds, offers
            # and fetches templates all the same.
            LOG.exception('Nothing more is published in this pass')
