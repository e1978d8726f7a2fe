# SPDX-License-Identifier: Apache-2.0
"""The placement policy over the locations that the cluster has now."""

from collections.abc import Callable

from tmpl_glance_store import objects
from tmpl_glance_store.placement import contract


class Latest:
    """Builds the policy anew only when the locations have changed.

    :param make: builds a policy from the cluster's locations
    """

    def __init__(
        self, make: Callable[[list[objects.Location]], contract.Policy]
    ) -> None:
        self._make = make
        self._last: tuple[list[objects.Location], contract.Policy] | None
        self._last = None

    def __call__(self, locations: list[objects.Location]) -> contract.Policy:
        """Return the policy over *locations*."""
        if self._last is None or self._last[0] != locations:
            self._last = locations, self._make(locations)
        return self._last[1]
