# SPDX-License-Identifier: Apache-2.0
"""What the parts of an agent say, put together for ``/v1/status``."""

from collections.abc import Callable, Iterable, Iterator

from tmpl_glance_store import imagecache
from tmpl_glance_store.agent import fetching as agent_fetching
from tmpl_glance_store.agent import observe
from tmpl_glance_store.agent import seeding as agent_seeding
from tmpl_glance_store.agent import status as agent_status
from tmpl_glance_store.agent import transfers as agent_transfers
from tmpl_glance_store.localstore import store as local_store


class Report:
    """Makes the status of the node, as it is when it is asked for.

    :param problem: returns what hinders the passes, or None
    :param images: returns the base files; of a compute node
    """

    def __init__(
        self,
        *,
        node: str,
        release: str,
        problem: Callable[[], str | None],
        store: local_store.LocalStore,
        transfers: agent_transfers.Transfers,
        fetching: agent_fetching.Fetching,
        seeding: agent_seeding.Seeding,
        images: Callable[[], Iterable[imagecache.BaseFile]] = lambda: (),
    ) -> None:
        self._node = node
        self._release = release
        self._problem = problem
        self._store = store
        self._transfers = transfers
        self._fetching = fetching
        self._seeding = seeding
        self._images = images

    def status(self) -> agent_status.Status:
        """Return the status now."""
        return agent_status.Status(
            node=self._node,
            release=self._release,
            problem=self._problem(),
            transfers=tuple(self._transfers.status()),
            copies=(*self._waiting(), *self._held()),
            images=tuple(self._images()),
        )

    def _waiting(self) -> Iterator[agent_status.Copy]:
        for each in self._fetching.waiting:
            yield agent_status.Copy(
                each.digest, each.location_id, agent_status.WAITING
            )

    def _held(self) -> Iterator[agent_status.Copy]:
        for location in observe.well(self._store):
            for digest in sorted(location.held()):
                yield agent_status.Copy(
                    digest,
                    location.record.id,
                    agent_status.SEEDING
                    if digest in self._seeding
                    else agent_status.COMPLETE,
                )
