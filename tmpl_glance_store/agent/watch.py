# SPDX-License-Identifier: Apache-2.0
"""What wakes the loop from outside: the catalog, and what Nova downloads."""

import logging
import threading
from collections.abc import Callable

from tmpl_glance_store import exceptions
from tmpl_glance_store.agent import loop
from tmpl_glance_store.catalog import view as catalog_view

LOG = logging.getLogger(__name__)

_LOOK = 1  # seconds between two looks at what cannot be waited for
_RETRY = 2  # seconds after a watch that broke


class Watch:
    """Wakes the loop when there is something new.

    :param looked: called each time round: systemd's watchdog is told
    :param downloads_began: tells whether Nova has begun a download
    """

    def __init__(
        self,
        *,
        view: catalog_view.View,
        wake: loop.Wake,
        looked: Callable[[], object],
        downloads_began: Callable[[], bool] = lambda: False,
    ) -> None:
        self._view = view
        self._wake = wake
        self._looked = looked
        self._downloads_began = downloads_began

    def run(self, stopped: threading.Event) -> None:
        """Look until *stopped*."""
        while not stopped.is_set():
            self._looked()
            try:
                self._look()
            except exceptions.Unavailable as exc:
                LOG.warning('The watch broke: %s', exc)
                stopped.wait(_RETRY)
        self._view.close()

    def _look(self) -> None:
        if self._view.wait(_LOOK):
            self._wake.set(refresh=True)
        if self._downloads_began():
            self._wake.set()
