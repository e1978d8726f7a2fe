# SPDX-License-Identifier: Apache-2.0
"""Mutual TLS in the swarm."""

import contextlib
import dataclasses
import pathlib
import socket
import time

import pytest

pytest.importorskip('libtorrent')

from harness import certificates
from tests.functional.swarm.nodes import Node
from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import identity
from tmpl_glance_store.swarm import metainfo
from tmpl_glance_store.swarm import session


class TestTls:
    def test_nodes_of_a_cluster_serve_each_other(
        self, tmp_path, template, files
    ):
        template.write(tmp_path / 'source')
        with (
            Node('127.0.0.2', tls=files) as source,
            Node('127.0.0.3', tls=files) as target,
        ):
            # libtorrent 2.1 may stop listening after this one.
            source.swarm.set_limits(0, 0)
            source.seed(template, tmp_path / 'source')
            target.fetch(template, tmp_path / 'target', source.peer)
            target.wait(template)

        assert (tmp_path / 'target/image').read_bytes() == template.data

    @pytest.mark.parametrize('stranger_seeds', [False, True])
    def test_a_node_of_another_ca_gets_and_gives_nothing(
        self, tmp_path, template, files, stranger_seeds
    ):
        foreign = certificates.Authority(tmp_path, 'foreign').node(
            'node', metainfo.NAME
        )
        template.write(tmp_path / 'source')
        with (
            Node('127.0.0.2', tls=files) as native,
            Node('127.0.0.3', tls=foreign) as stranger,
        ):
            # It knows the torrent, which the API tells only to nodes.
            stranger.swarm._ca = native.swarm._ca
            seeder, taker = (
                (stranger, native) if stranger_seeds else (native, stranger)
            )
            seeder.seed(template, tmp_path / 'source')
            taker.fetch(template, tmp_path / 'target', seeder.peer)
            seeder.swarm.connect(template.digest, [taker.peer])
            time.sleep(3)

            assert taker.now(template).downloaded == 0
            assert taker.now(template).peers == 0
            assert seeder.now(template).uploaded == 0

    def test_a_peer_without_tls_is_refused(self, tmp_path, template, files):
        template.write(tmp_path / 'source')
        with Node('127.0.0.2', tls=files) as source:
            source.seed(template, tmp_path / 'source')
            handle = source.swarm._transfers.get(template.digest).handle
            info_hash = handle.info_hashes().get_best().to_bytes()
            with socket.create_connection(source.peer, timeout=10) as peer:
                peer.sendall(
                    b'\x13BitTorrent protocol'
                    + bytes(8)
                    + info_hash[:20]
                    + b'-XX0000-'
                    + bytes(12)
                )
                answer = b''
                with contextlib.suppress(ConnectionResetError):
                    while more := peer.recv(4096):
                        answer += more

            assert b'BitTorrent' not in answer
            assert info_hash[:20] not in answer

    def test_a_certificate_that_peers_would_refuse_ends_the_start(
        self, tmp_path, authority, files
    ):
        other = certificates.Authority(tmp_path, 'other').node(
            'node', metainfo.NAME
        )
        for bad in (
            authority.node('unnamed'),
            authority.node('old', metainfo.NAME, days=-1),
            dataclasses.replace(files, ca=other.ca),
            dataclasses.replace(files, key=other.key),
            dataclasses.replace(files, ca='/nonexistent'),
        ):
            with pytest.raises(
                exceptions.BadConfiguration, match=metainfo.NAME
            ):
                session.Swarm(host='127.0.0.2', port=0, tls=bad)

    def test_text_around_the_ca_does_not_change_the_torrent(
        self, tmp_path, files
    ):
        noisy = tmp_path / 'ca.pem'
        text = pathlib.Path(files.ca).read_text()
        noisy.write_text('# our CA\r\n' + text.replace('\n', '\r\n') + text)

        assert identity.prove(
            dataclasses.replace(files, ca=str(noisy))
        ) == identity.prove(files)
