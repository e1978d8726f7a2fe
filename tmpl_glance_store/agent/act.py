# SPDX-License-Identifier: Apache-2.0
"""What becomes of a plan: one way for each type of action."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store.agent import fetching as agent_fetching
from tmpl_glance_store.agent import plan
from tmpl_glance_store.agent import seeding as agent_seeding
from tmpl_glance_store.catalog.snapshot import Snapshot
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.localstore import store as local_store

LOG = logging.getLogger(__name__)


class Actor:
    """Carries plans out; an action that a disk hinders harms only itself."""

    def __init__(
        self,
        *,
        store: local_store.LocalStore,
        keeper: keeping.Keeper,
        fetching: agent_fetching.Fetching,
        seeding: agent_seeding.Seeding,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._fetching = fetching
        self._seeding = seeding
        self._ways: Mapping[type, Callable[[Any, Snapshot], None]] = {
            plan.Adopt: self._adopt,
            plan.Forget: self._forget,
            plan.ForgetTemplate: self._forget_template,
            plan.Move: self._move,
            plan.Release: self._release,
            plan.Remove: self._remove,
        }

    def act(self, todo: plan.Plan, now: Snapshot) -> None:
        """Carry a plan out.

        :raises Unavailable: if the catalog cannot be reached
        """
        self._fetching.follow(
            [each for each in todo.actions if isinstance(each, plan.Fetch)],
            now,
        )
        for action in todo.actions:
            if not isinstance(action, plan.Fetch):
                self._carry_out(action, now)
        self._seeding.offer(todo.seeds, now)

    def _carry_out(self, action: plan.Action, now: Snapshot) -> None:
        try:
            self._ways[type(action)](action, now)
        except (
            exceptions.NoSpace,
            exceptions.WriteDenied,
            exceptions.CorruptCopy,
            OSError,
        ) as exc:
            LOG.error('%s: %s', action, exc)

    def _adopt(self, action: plan.Adopt, now: Snapshot) -> None:
        location = self._store.get(action.location_id)
        if location is not None:
            self._keeper.adopt(
                action.digest,
                location,
                now.copies.get(action.digest, {}).get(action.location_id),
            )

    def _forget(self, action: plan.Forget, now: Snapshot) -> None:
        location = self._store.get(action.location_id)
        if location is not None:
            self._keeper.forget(action.digest, location)

    def _forget_template(
        self, action: plan.ForgetTemplate, now: Snapshot
    ) -> None:
        self._keeper.forget_template(action.digest)

    def _move(self, action: plan.Move, now: Snapshot) -> None:
        source = self._store.get(action.source_id)
        target = self._store.get(action.target_id)
        if source is not None and target is not None:
            self._keeper.move(
                now.templates[action.digest].template, source, target
            )

    def _release(self, action: plan.Release, now: Snapshot) -> None:
        location = self._store.get(action.location_id)
        if location is not None:
            self._seeding.stop(action.digest)
            self._keeper.release(action.digest, location, action.keepers)

    def _remove(self, action: plan.Remove, now: Snapshot) -> None:
        location = self._store.get(action.location_id)
        if location is not None:
            self._seeding.stop(action.digest)
            self._keeper.collect(action.digest, location)
