# SPDX-License-Identifier: Apache-2.0
"""The thread that reads what libtorrent has to tell."""

import logging
import threading
import time
from collections.abc import Callable

import libtorrent as lt

LOG = logging.getLogger(__name__)

_WAIT = 200  # milliseconds until it looks whether the session closes
_COUNT = 1  # seconds between two looks at the traffic


class Alerts:
    """Reads the alerts of a session, and counts its traffic.

    :param react: called with each alert, in the thread of this
    """

    def __init__(
        self, session: lt.session, react: Callable[[lt.alert], None]
    ) -> None:
        #: Template bytes (received, sent), as of a moment ago.
        self.traffic = (0, 0)
        self._react = react
        self._closing = threading.Event()
        self._reader = threading.Thread(
            target=self._run, args=(session,), name='swarm-alerts', daemon=True
        )
        self._reader.start()

    def close(self) -> None:
        """End the thread, and wait for that."""
        self._closing.set()
        self._reader.join()

    def _run(self, session: lt.session) -> None:
        asked = 0.0
        while not self._closing.is_set():
            session.wait_for_alert(_WAIT)
            if time.monotonic() - asked > _COUNT:
                session.post_session_stats()
                asked = time.monotonic()
            for alert in session.pop_alerts():
                try:
                    self._take(alert)
                except Exception:
                    LOG.exception('swarm: %s', alert)

    def _take(self, alert: lt.alert) -> None:
        if isinstance(alert, lt.session_stats_alert):
            self.traffic = (
                alert.values['net.recv_payload_bytes'],
                alert.values['net.sent_payload_bytes'],
            )
        else:
            self._react(alert)
