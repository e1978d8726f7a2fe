# SPDX-License-Identifier: Apache-2.0
"""What systemd is told of the agent: see sd_notify(3)."""

import logging
import os
import socket

LOG = logging.getLogger(__name__)

READY = 'READY=1'
STOPPING = 'STOPPING=1'
ALIVE = 'WATCHDOG=1'


def notify(state: str) -> None:
    """Tell systemd of a change, if it wants to know."""
    address = os.environ.get('NOTIFY_SOCKET')
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(address.replace('@', '\0', 1))
            sock.sendall(state.encode())
        except OSError as exc:
            LOG.warning('systemd is not told %s: %s', state, exc)
