# SPDX-License-Identifier: Apache-2.0
"""One pass: observe, plan, act. Whatever wakes it, it is always the same."""

import functools
import logging
import os
import time
from collections.abc import Callable

from tmpl_glance_store import exceptions
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store import repository
from tmpl_glance_store import swarm as swarm_package
from tmpl_glance_store.agent import base_files as agent_base_files
from tmpl_glance_store.agent import plan
from tmpl_glance_store.agent import status
from tmpl_glance_store.agent import transfers
from tmpl_glance_store.catalog import snapshot as catalog_view
from tmpl_glance_store.catalog.snapshot import Snapshot
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.placement import contract as placement

LOG = logging.getLogger(__name__)

_RETRY = 10  # seconds after a failed fetch before it is tried again
_RECONNECT = 2  # seconds after which a fetch is told of its peers again


class Reconciler:
    """Brings one node closer to what it should hold.

    :param node: its name
    :param rebuild_delay: seconds that a node may be away before its copies
        are made elsewhere
    :param limit: fetches at a time
    :param everywhere: builds the policy of pinned templates
    :param base_files: of a compute node
    """

    def __init__(
        self,
        *,
        node: str,
        rebuild_delay: float,
        limit: int,
        repository: repository.Repository,
        view: catalog_view.View,
        swarm: swarm_package.Swarm,
        transfers: transfers.Transfers,
        everywhere: Callable[[list[objects.Location]], placement.Policy],
        base_files: agent_base_files.BaseFiles | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._rebuild_delay = rebuild_delay
        self._limit = limit
        self._catalog = repository.catalog
        self._store = repository.store
        self._repository = repository
        self._view = view
        self._recovery = repository.recovery
        self._swarm = swarm
        self._transfers = transfers
        self._everywhere = everywhere
        self._base_files = base_files
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._away_since: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._seeds: frozenset[str] = frozenset()
        self.waiting: tuple[plan.Fetch, ...] = ()

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
        for digest, error in self._transfers.reap():
            self._not_before[digest] = self._clock() + _RETRY
            LOG.info('The fetch of %s is tried again: %s', digest, error)
        seen = self._observe(self._snapshot, self._demand(self._snapshot))
        locations = list(self._snapshot.locations.values())
        todo = plan.make(
            seen,
            self._repository.policy_of(locations),
            self._everywhere(locations),
        )
        self._act(todo, self._snapshot)
        self._publish(self._snapshot)
        return todo

    def _publish(self, now: Snapshot) -> None:
        if self._base_files is None:
            return
        # Also those that wait for others to be fetched first; without a
        # holder there is nothing to wait for.
        arriving = self._transfers.digests | {
            each.digest
            for each in self.waiting
            if self._holders(each.digest, now)
        }
        try:
            self._base_files.run(
                now,
                self._well(),
                arriving,
                {digest for digest in arriving if self._has_failed(digest)},
            )
        except exceptions.Unavailable:
            raise
        except Exception:
            # Whatever Nova's directories are like: this node holds, offers
            # and fetches templates all the same.
            LOG.exception('Nothing more is published in this pass')

    def _has_failed(self, digest: str) -> bool:
        """Tell whether a fetch pauses because it has failed."""
        return self._not_before.get(digest, 0) > self._clock()

    def status(self) -> list[status.Copy]:
        """Return the copies of this node, and what its disks are to hold."""
        waiting = [
            status.Copy(each.digest, each.location_id, status.WAITING)
            for each in self.waiting
            if each.digest not in self._transfers
        ]
        return waiting + [
            status.Copy(
                digest,
                location.record.id,
                status.SEEDING if digest in self._seeds else status.COMPLETE,
            )
            for location in self._well()
            for digest in sorted(location.held())
        ]

    # Observe

    def _look(self) -> Snapshot:
        """Return what the catalog knows, this node's locations included."""
        now = self._view.update()
        if self._repository.open(list(now.locations.values())):
            # Without its own new location it would plan nonsense.
            now = self._view.reload()
        return now

    def _well(self) -> list[local.LocalLocation]:
        """Return the locations whose disks are there.

        Of the others nothing is known: their copies stay recorded, and
        nothing is fetched to them.
        """
        return [
            location
            for location in self._store.locations
            if location.is_well()
        ]

    def _demand(self, now: Snapshot) -> agent_base_files.Demand:
        if self._base_files is None:
            return agent_base_files.Demand()
        here = {
            digest for location in self._well() for digest in location.held()
        }
        return self._base_files.look(now, here)

    def _observe(
        self, now: Snapshot, demand: agent_base_files.Demand
    ) -> plan.Observed:
        well = self._well()
        held = {location.record.id: location.held() for location in well}
        return plan.Observed(
            node=self._node,
            templates=now.templates.values(),
            locations=now.locations,
            copies={
                digest: {
                    each.location_id
                    for each in copies.values()
                    if each.complete
                }
                for digest, copies in now.copies.items()
            },
            held=held,
            live=frozenset(now.nodes),
            gone=self._gone(now),
            fetching=frozenset(
                digest
                for name, node in now.nodes.items()
                if name != self._node
                for digest in node.fetching
            ),
            full={
                name: frozenset(node.full)
                for name, node in now.nodes.items()
                if name != self._node
            },
            low=frozenset(
                location.record.id
                for location in well
                if not location.has_room(0)
            ),
            wished=demand.wished,
            spare=demand.spare,
            last_used=self._last_used(well),
            arrived={
                (location.record.id, digest): _bytes_on_disk(
                    location.paths.fetch(digest)
                )
                for location in well
                for digest in location.paths.fetches()
            },
            has_room=self._has_room,
        )

    def _gone(self, now: Snapshot) -> frozenset[str]:
        """Return the nodes that are away for longer than the delay.

        Each agent measures with its own clock, from when it noticed: a new
        agent waits anew, which is on the safe side.
        """
        nodes = {location.node for location in now.locations.values()}
        away = nodes - now.nodes.keys() - {self._node}
        moment = self._clock()
        self._away_since = {
            name: self._away_since.get(name, moment) for name in away
        }
        return frozenset(
            name
            for name, since in self._away_since.items()
            if moment - since >= self._rebuild_delay
        )

    def next_change(self) -> float | None:
        """Return the seconds until time alone changes the plan, or None."""
        moment = self._clock()
        times = [
            since + self._rebuild_delay for since in self._away_since.values()
        ]
        times += self._not_before.values()
        if len(self._transfers):
            times.append(moment + _RECONNECT)
        if self._base_files is not None:
            later = self._base_files.outcome.next_change
            times += [] if later is None else [moment + later]
        return min(
            (each - moment for each in times if each > moment), default=None
        )

    @staticmethod
    def _last_used(well: list[local.LocalLocation]) -> dict[str, float]:
        return {
            digest: location.last_used(digest)
            for location in well
            if not location.has_room(0)
            for digest in location.held()
        }

    def _has_room(self, record: objects.Location, size: int) -> bool:
        location = self._store.get(record.id)
        return (
            location is not None
            and location.is_well()
            and location.is_writable()
            and location.has_room(size)
        )

    # Act

    def _act(self, todo: plan.Plan, now: Snapshot) -> None:
        fetches = [
            each for each in todo.actions if isinstance(each, plan.Fetch)
        ]
        self._tidy({each.digest for each in fetches})
        self._fetch(fetches, now)
        for action in todo.actions:
            if not isinstance(action, plan.Fetch):
                try:
                    self._carry_out(action, now)
                except (
                    exceptions.NoSpace,
                    exceptions.WriteDenied,
                    exceptions.CorruptCopy,
                    OSError,
                ) as exc:
                    LOG.error('%s: %s', action, exc)
        self._seed(todo.seeds, now)

    def _tidy(self, wanted: set[str]) -> None:
        """Cancel fetches that are not wanted any more; remove their rest."""
        self._transfers.keep_only(wanted)
        for location in self._well():
            for digest in location.paths.fetches():
                if digest not in wanted and digest not in self._transfers:
                    location.abandon_fetch(digest)

    def _fetch(self, fetches: list[plan.Fetch], now: Snapshot) -> None:
        self.waiting = tuple(fetches)
        for fetch in fetches:
            holders = self._holders(fetch.digest, now)
            location = self._store.get(fetch.location_id)
            if (
                not holders
                or location is None
                or self._has_failed(fetch.digest)
            ):
                continue
            if (
                fetch.digest in self._transfers
                or len(self._transfers) < self._limit
            ):
                self._transfers.fetch(
                    now.templates[fetch.digest].template, location, holders
                )

    def _holders(self, digest: str, now: Snapshot) -> list[transfers.Holder]:
        """Return the live nodes with a copy; none, if only fetchers are."""
        complete = {
            now.locations[each.location_id].node
            for each in now.copies.get(digest, {}).values()
            if each.complete and each.location_id in now.locations
        }
        holders = [
            node
            for name, node in sorted(now.nodes.items())
            if name in complete and name != self._node
        ]
        fetchers = [
            node
            for name, node in sorted(now.nodes.items())
            if digest in node.fetching
            and name != self._node
            and name not in complete
        ]
        if not holders:
            return []
        return [
            (node.api, _endpoint(node.swarm)) for node in (*holders, *fetchers)
        ]

    def _carry_out(self, action: plan.Action, now: Snapshot) -> None:
        digest = action.digest
        if isinstance(action, plan.ForgetTemplate):
            self._catalog.forget_template(digest)
        elif isinstance(action, plan.Move):
            self._move(action, now.templates[digest].template)
        elif isinstance(action, plan.Forget):
            disk = self._store.get(action.location_id)
            # Of a disk that is away nothing is known: it stays recorded.
            if disk is not None and disk.is_well():
                self._catalog.drop_copy(
                    digest,
                    action.location_id,
                    functools.partial(disk.holds, digest),
                )
        elif (location := self._store.get(action.location_id)) is not None:
            self._swarm_stop(action)
            if isinstance(action, plan.Adopt):
                self._recovery.settle(
                    location.paths.copy(digest),
                    location,
                    now.copies.get(digest, {}).get(action.location_id),
                )
            elif isinstance(action, plan.Remove):
                self._recovery.collect(digest, location)
            elif isinstance(action, plan.Release):
                self._recovery.release(digest, location, action.keepers)

    def _swarm_stop(self, action: plan.Action) -> None:
        if (
            isinstance(action, plan.Remove | plan.Release)
            and action.digest not in self._transfers
        ):
            self._swarm.stop(action.digest)

    def _move(self, move: plan.Move, template: objects.Template) -> None:
        source = self._store.get(move.source_id)
        target = self._store.get(move.target_id)
        if source is None or target is None:
            return
        with target.stage() as staged:
            staged.copy_from(source.paths.copy(move.digest), move.digest)
            self._catalog.intend(move.digest, move.target_id)
            if staged.place(move.digest):
                self._transfers.settle(template, target)

    def _seed(self, seeds: frozenset[str], now: Snapshot) -> None:
        """Offer what others fetch right now, and nothing else."""
        for digest in self._seeds - seeds:
            if digest not in self._transfers:
                self._swarm.stop(digest)
        for digest in seeds:
            location = self._store.find(digest)
            if (
                location is not None
                and digest not in self._transfers
                and digest in now.templates
            ):
                template = now.templates[digest].template
                self._swarm.seed(
                    template,
                    location.pieces(digest),
                    location.paths.copy(digest),
                )
                self._swarm.connect(
                    digest,
                    [
                        _endpoint(node.swarm)
                        for name, node in now.nodes.items()
                        if digest in node.fetching and name != self._node
                    ],
                )
        self._seeds = seeds


def _bytes_on_disk(directory: str) -> int:
    """Return what the image of an unfinished fetch takes."""
    try:
        return os.stat(os.path.join(directory, layout.IMAGE)).st_blocks * 512
    except OSError:
        return 0


def _endpoint(text: str) -> swarm_package.session.Peer:
    host, _, port = text.rpartition(':')
    return host.strip('[]'), int(port)
