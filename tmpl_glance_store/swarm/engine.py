# SPDX-License-Identifier: Apache-2.0
"""A libtorrent session as this package wants it, and its errors as ours."""

import threading
import time
from typing import Any

import libtorrent as lt

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store.swarm import settings

#: Seconds to wait for the port, and at the end for the disk.
_LISTEN_DEADLINE = 10
_CLOSE_DEADLINE = 5

_ALERTS = (
    lt.alert.category_t.error_notification
    | lt.alert.category_t.peer_notification
    | lt.alert.category_t.status_notification
    | lt.alert.category_t.storage_notification
)


def open_session(host: str, port: int, tls: bool) -> lt.session:
    """Return a session that is about to listen."""
    params = lt.session_params()
    chosen: Any = {
        **settings.SETTINGS,
        **settings.interfaces(host, port, tls),
        'alert_mask': _ALERTS,
    }
    params.settings = chosen
    # The mapped files of the mmap back end would count as our memory.
    params.disk_io_constructor = 'pread_disk_io_constructor'
    session = lt.session(params)
    # By default private networks, which is where nodes live, are exempt from
    # limits and choking.
    everybody = lt.ip_filter()
    for first, last in settings.ADDRESSES:
        everybody.add_rule(first, last, 1 << session.global_peer_class_id)
    session.set_peer_class_filter(everybody)
    return session


def wait_for_port(session: lt.session, host: str, port: int) -> int:
    """Return the port, once the session listens.

    :raises BadConfiguration: if it cannot
    """
    deadline = time.monotonic() + _LISTEN_DEADLINE
    reason = f'no answer in {_LISTEN_DEADLINE} s'
    while time.monotonic() < deadline:
        session.wait_for_alert(200)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.listen_succeeded_alert):
                return alert.port
            if isinstance(alert, lt.listen_failed_alert):
                raise exceptions.BadConfiguration(
                    f'the swarm cannot listen on {host} port {port}: '
                    f'{alert.error.message()}'
                )
            # Python has no class for it.
            if alert.what() == 'session_error':
                raise exceptions.BadConfiguration(
                    f'the swarm cannot listen on {host} port {port}: '
                    f'{alert.message()} (may the process ask the kernel for '
                    f'its network interfaces, by AF_NETLINK?)'
                )
    raise exceptions.BadConfiguration(
        f'the swarm cannot listen on {host} port {port}: {reason}'
    )


def close_session(session: list[lt.session]) -> None:
    """Destroy the only item of *session*.

    The destructor waits for the disk. One that hangs must not keep the
    process from ending.
    """
    closer = threading.Thread(
        target=session.clear, name='swarm-close', daemon=True
    )
    closer.start()
    closer.join(_CLOSE_DEADLINE)


def system_errno(error: lt.error_code) -> int | None:
    """Return the errno in *error*, None if it is of another kind."""
    return (
        error.value()
        if error.category().name() in ('system', 'generic')
        else None
    )


def disk_error(code: int | None, message: str) -> exceptions.TmplError:
    """Return the error that tells what to do about an errno."""
    if code in fsutil.NO_SPACE_ERRNOS:
        return exceptions.NoSpace(message)
    if code in fsutil.DENIED_ERRNOS:
        return exceptions.WriteDenied(message)
    return exceptions.TmplError(message)
