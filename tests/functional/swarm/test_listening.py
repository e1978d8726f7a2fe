# SPDX-License-Identifier: Apache-2.0
"""Where it listens."""

import socket

import pytest

pytest.importorskip('libtorrent')

from tests.functional.swarm.nodes import Node
from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import session


class TestListening:
    @pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.0.2.1'])
    def test_without_tls_it_listens_on_loopback_only(self, host):
        with pytest.raises(
            exceptions.BadConfiguration, match='tmpl_store_tls_ca'
        ):
            session.Swarm(host=host, port=0)

    def test_a_port_that_is_taken_is_reported(self):
        with socket.create_server(('127.0.0.2', 0)) as taken:
            port = taken.getsockname()[1]

            with pytest.raises(exceptions.BadConfiguration, match=str(port)):
                session.Swarm(host='127.0.0.2', port=port)

    def test_ipv6_works(self, tmp_path, template):
        template.write(tmp_path / 'source')
        with Node('::1') as source, Node('::1') as target:
            source.seed(template, tmp_path / 'source')
            target.fetch(template, tmp_path / 'target', source.peer)
            target.wait(template)
