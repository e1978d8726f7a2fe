# SPDX-License-Identifier: Apache-2.0
"""The members of the cluster, asked in turn."""

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from tmpl_glance_store.catalog.etcd import failures
from tmpl_glance_store.catalog.etcd import url as etcd_url

# In seconds.
_ELECTION = 5  # how long a call waits for the members to choose a leader
_ELECTION_PAUSE = 0.2

_RANDOM = random.SystemRandom()

_Answer = TypeVar('_Answer')


class Members:
    """The members of the cluster: asks them in turn until one answers.

    :param on_failure: is told of each failure, before anything else
    """

    def __init__(
        self,
        endpoints: Sequence[etcd_url.Endpoint],
        on_failure: Callable[[failures.Failure], None],
    ) -> None:
        self._endpoints = endpoints
        self._on_failure = on_failure
        # Not all clients should burden the same member.
        self._preferred = _RANDOM.randrange(len(endpoints))

    def ask(
        self,
        question: Callable[[etcd_url.Endpoint], _Answer],
        repeatable: bool = True,
    ) -> _Answer:
        """Return what *question* returns for the first member that can tell.

        Waits a while for the members to choose a leader.

        :param repeatable: whether the next member may be asked though this
            one may have done what it was asked
        :raises Unavailable: if none can tell
        """
        deadline = time.monotonic() + _ELECTION
        while True:
            try:
                return self._ask_each(question, repeatable)
            except failures.AllFailed as exc:
                if not exc.in_election or time.monotonic() > deadline:
                    raise
            time.sleep(_ELECTION_PAUSE)

    def _ask_each(
        self,
        question: Callable[[etcd_url.Endpoint], _Answer],
        repeatable: bool,
    ) -> _Answer:
        failed: list[failures.Failure] = []
        for endpoint in self._in_turn():
            try:
                return question(endpoint)
            except failures.Failure as exc:
                self._on_failure(exc)
                if not exc.in_trouble:
                    raise
                self._avoid(endpoint)
                if not (repeatable or exc.untouched):
                    raise
                failed.append(exc)
        raise failures.AllFailed(failed) from failed[-1]

    def _in_turn(self) -> Sequence[etcd_url.Endpoint]:
        first = self._preferred
        return [*self._endpoints[first:], *self._endpoints[:first]]

    def _avoid(self, endpoint: etcd_url.Endpoint) -> None:
        if self._endpoints[self._preferred] == endpoint:
            self._preferred = (self._preferred + 1) % len(self._endpoints)
