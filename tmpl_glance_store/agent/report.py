# SPDX-License-Identifier: Apache-2.0
"""What the parts of an agent say, put together for ``/v1/status``."""

from collections.abc import Callable, Iterable

from tmpl_glance_store import imagecache
from tmpl_glance_store.agent import status


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
        transfers: Callable[[], Iterable[status.Transfer]],
        copies: Callable[[], Iterable[status.Copy]],
        images: Callable[[], Iterable[imagecache.BaseFile]] = lambda: (),
    ) -> None:
        self._node = node
        self._release = release
        self._problem = problem
        self._transfers = transfers
        self._copies = copies
        self._images = images

    def status(self) -> status.Status:
        """Return the status now."""
        return status.Status(
            node=self._node,
            release=self._release,
            problem=self._problem(),
            transfers=tuple(self._transfers()),
            copies=tuple(self._copies()),
            images=tuple(self._images()),
        )
