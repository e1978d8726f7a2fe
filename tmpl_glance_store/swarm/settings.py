# SPDX-License-Identifier: Apache-2.0
"""How libtorrent is set up here, and why where it is not obvious."""

import ipaddress
from typing import Any

from tmpl_glance_store import exceptions

#: libtorrent's ``settings_pack``; what is not here is its default.
SETTINGS: dict[str, Any] = {
    # Peers come from the catalog alone.
    'enable_dht': False,
    'enable_lsd': False,
    'enable_upnp': False,
    'enable_natpmp': False,
    # TLS is the encryption; without it we are on loopback.
    'in_enc_policy': 2,
    'out_enc_policy': 2,
    # A LAN: TCP fills it, uTP yields to everything and costs CPU.
    'enable_incoming_utp': False,
    'enable_outgoing_utp': False,
    'mixed_mode_algorithm': 0,
    # A node that was away is tried again soon, and for ever: the catalog
    # says that it is alive.
    'min_reconnect_time': 2,
    'max_failcount': 100,
    'peer_connect_timeout': 5,
    'handshake_timeout': 10,
    'peer_timeout': 60,
    'inactivity_timeout': 60,
    'connection_speed': 200,
    'connections_limit': 400,
    'listen_queue_size': 200,
    # What a node has asked the source for, no other node knows of: they ask
    # for it too, and the source sends it twice. So little may be under way:
    # 256 KiB a peer, which fills 10 Gbit/s at 0.2 ms. With 8 nodes behind
    # shaped links the source sent 1.04 copies of 512 MiB, with 32 it was
    # 1.06, and with libtorrent's choice, by the rate, 1.9. It is the number
    # that a peer announces which counts, not 'max_out_request_queue'.
    'max_allowed_in_request_queue': 16,
    # For the same reason never ask one peer for 8 MiB in a row: 1.34 copies
    # instead of 1.08, of 256 MiB.
    'whole_pieces_threshold': 0,
    # Everybody is served: nobody here needs to be made to give.
    'choking_algorithm': 0,
    'unchoke_slots_limit': -1,
    # What a kill loses: pieces stay in memory until 7/8 of this is full.
    'max_queued_disk_bytes': 4 << 20,
    'aio_threads': 4,
    'hashing_threads': 2,
    'file_pool_size': 100,
    'alert_queue_size': 10_000,
    'listen_system_port_fallback': False,
    'max_retry_port_bind': 0,
    'user_agent': 'tmpl-glance-store',
}


def interfaces(host: str, port: int, tls: bool) -> dict[str, Any]:
    """Return the settings that say where to listen and connect from.

    :raises BadConfiguration: if *host* is not an IP address
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError as exc:
        raise exceptions.BadConfiguration(
            f'the swarm needs an IP address to listen on: {exc}'
        ) from exc
    name = f'[{host}]' if address.version == 6 else host
    return {
        'listen_interfaces': f'{name}:{port}{"s" if tls else ""}',
        'outgoing_interfaces': '' if address.is_unspecified else host,
        # Nodes have addresses of their own, but for a trial on one machine;
        # otherwise one that lied could come back from another port.
        'allow_multiple_connections_per_ip': address.is_loopback,
    }


#: All of them, IPv4 and IPv6.
ADDRESSES = (
    ('0.0.0.0', '255.255.255.255'),  # noqa: S104
    ('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'),
)
