# SPDX-License-Identifier: Apache-2.0
"""Where a session listens, and that libtorrent knows our settings."""

import libtorrent as lt
import pytest

from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import settings


def test_libtorrent_knows_each_setting() -> None:
    assert settings.SETTINGS.keys() <= lt.default_settings().keys()


@pytest.mark.parametrize(
    ('host', 'tls', 'listen', 'outgoing', 'several'),
    [
        ('127.0.0.1', False, '127.0.0.1:7', '127.0.0.1', True),
        ('192.0.2.1', True, '192.0.2.1:7s', '192.0.2.1', False),
        ('2001:db8::1', True, '[2001:db8::1]:7s', '2001:db8::1', False),
        ('0.0.0.0', True, '0.0.0.0:7s', '', False),
    ],
)
def test_it_listens_and_calls_at_its_address(
    host: str, tls: bool, listen: str, outgoing: str, several: bool
) -> None:
    assert settings.interfaces(host, 7, tls) == {
        'listen_interfaces': listen,
        'outgoing_interfaces': outgoing,
        'allow_multiple_connections_per_ip': several,
    }


def test_a_name_is_no_address() -> None:
    with pytest.raises(exceptions.BadConfiguration, match='IP address'):
        settings.interfaces('localhost', 7, False)
