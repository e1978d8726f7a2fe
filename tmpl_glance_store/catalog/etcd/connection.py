# SPDX-License-Identifier: Apache-2.0
"""Connections to one member, bounded in time."""

import socket
from collections.abc import Mapping
from typing import Any

import etcd3gw
from requests import adapters

from tmpl_glance_store.catalog.etcd import auth as etcd_auth
from tmpl_glance_store.catalog.etcd import url as etcd_url

# In seconds.
_CONNECT_TIMEOUT = 3
_ANSWER_TIMEOUT = 8  # etcd itself gives up after 7

# A dead host is noticed though nobody writes to it, and a firewall sees that
# a quiet watch is in use.
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


def connect(
    endpoint: etcd_url.Endpoint,
    tls: Mapping[str, str],
    auth: etcd_auth.TokenAuth | None = None,
) -> etcd3gw.Etcd3Client:
    """Return a client of the member at *endpoint*; it connects when used.

    :param tls: the files ``ca``, ``cert`` and ``key``, those that there are
    """
    client = etcd3gw.Etcd3Client(
        endpoint.host,
        endpoint.port,
        endpoint.scheme,
        timeout=timeouts(),  # type: ignore[arg-type]  # requests takes it
        api_path='/v3/',
    )
    session = client.session
    # No proxy, no ~/.netrc, and above all no $REQUESTS_CA_BUNDLE, which would
    # be trusted instead of the cluster's CA.
    session.trust_env = False
    session.auth = auth
    session.verify = tls.get('ca', True)
    if 'cert' in tls:
        session.cert = tls['cert'], tls['key']
    # A member that has lost the others would serve on: watches would be told
    # nothing, and calls would wait.
    session.headers['Grpc-Metadata-hasleader'] = 'true'
    session.mount(f'{endpoint.scheme}://', _Adapter())
    return client


def timeouts() -> tuple[int, int]:
    """Return the seconds to connect within, and to answer within."""
    return _CONNECT_TIMEOUT, _ANSWER_TIMEOUT


class _Adapter(adapters.HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(
            *args, socket_options=_SOCKET_OPTIONS, **kwargs
        )
