# SPDX-License-Identifier: Apache-2.0
"""Templates arrive."""

import os
import socket
import time

import pytest

pytest.importorskip('libtorrent')

from harness.contents import content
from tests.functional.swarm.nodes import MIB
from tests.functional.swarm.nodes import Node
from tests.functional.swarm.nodes import eventually
from tmpl_glance_store import merkle
from tmpl_glance_store.swarm import progress


class TestTransfer:
    @pytest.mark.parametrize(
        'size',
        [
            1,
            100,
            16 << 10,
            (16 << 10) + 1,
            200_000,
            256 << 10,
            (256 << 10) + 1,
            3 * MIB,
        ],
    )
    def test_a_file_of_any_size_arrives(self, tmp_path, target, size):
        what = content(os.urandom(size))
        what.write(tmp_path / 'source')
        with Node('127.0.0.2') as source:
            source.seed(what, tmp_path / 'source')

            target.fetch(what, tmp_path / 'target', source.peer)
            target.wait(what)

        assert (tmp_path / 'target/image').read_bytes() == what.data

    def test_pieces_of_more_than_the_smallest_size_arrive(
        self, tmp_path, target, monkeypatch
    ):
        # More than what may wait in memory for the disk, too.
        monkeypatch.setattr(merkle, 'MIN_PIECE', 16 * MIB)
        what = content(os.urandom(40 * MIB + 7))
        assert what.template.piece_size == 16 * MIB
        what.write(tmp_path / 'source')
        with Node('127.0.0.2') as source:
            source.seed(what, tmp_path / 'source')

            target.fetch(what, tmp_path / 'target', source.peer)
            target.wait(what)

        assert (tmp_path / 'target/image').read_bytes() == what.data

    def test_the_file_is_private_until_it_is_placed(
        self, tmp_path, template, source, target
    ):
        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)

        status = (tmp_path / 'target/image').stat()
        assert status.st_mode & 0o777 == 0o600
        assert target.now(template).done == template.template.size

    def test_a_fetched_copy_is_served_after_it_has_moved(
        self, tmp_path, template, source, target
    ):
        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)
        source.swarm.stop(template.digest)

        (tmp_path / 'target').rename(tmp_path / 'placed')
        target.seed(template, tmp_path / 'placed')
        with Node('127.0.0.4') as third:
            third.fetch(template, tmp_path / 'third', target.peer)
            third.wait(template)

        assert target.now(template).state == progress.SEEDING
        assert (tmp_path / 'third/image').read_bytes() == template.data

    def test_two_that_fetch_serve_each_other(
        self, tmp_path, template, source, target
    ):
        source.swarm.set_limits(upload=8 * MIB, download=0)
        with Node('127.0.0.4') as third:
            target.fetch(template, tmp_path / 'b', source.peer, third.peer)
            third.fetch(template, tmp_path / 'c', source.peer, target.peer)
            target.wait(template)
            third.wait(template)

            assert target.now(template).uploaded
            assert third.now(template).uploaded
        assert source.now(template).uploaded < 1.7 * len(template.data)

    def test_peers_may_be_told_before_they_are_there(
        self, tmp_path, template, target
    ):
        with socket.create_server(('127.0.0.2', 0)) as taken:
            port = taken.getsockname()[1]
        template.write(tmp_path / 'source')
        target.fetch(template, tmp_path / 'target', ('127.0.0.2', port))
        time.sleep(1)

        with Node('127.0.0.2', port=port) as source:
            source.seed(template, tmp_path / 'source')
            started = time.monotonic()
            while target.ended.empty() and time.monotonic() - started < 30:
                target.swarm.connect(template.digest, [source.peer])
                time.sleep(0.5)
            target.wait(template)

    def test_limits_change_while_a_transfer_runs(
        self, tmp_path, template, source, target
    ):
        target.swarm.set_limits(upload=0, download=2 * MIB)
        target.fetch(template, tmp_path / 'target', source.peer)
        eventually(lambda: target.now(template).peers)
        before = target.now(template).downloaded
        time.sleep(3)
        fetched = target.now(template).downloaded - before
        assert 3 * MIB < fetched < 9 * MIB

        target.swarm.set_limits(upload=0, download=0)
        started = time.monotonic()
        target.wait(template)

        assert time.monotonic() - started < 6

    def test_the_upload_limit_holds_towards_private_networks(
        self, tmp_path, template, source, target
    ):
        source.swarm.set_limits(upload=2 * MIB, download=0)
        target.fetch(template, tmp_path / 'target', source.peer)
        eventually(lambda: target.now(template).peers)
        time.sleep(2)

        assert target.now(template).downloaded < 8 * MIB

    def test_a_stopped_transfer_keeps_its_file(
        self, tmp_path, template, source, target
    ):
        target.swarm.set_limits(upload=0, download=4 * MIB)
        target.fetch(template, tmp_path / 'target', source.peer)
        eventually(lambda: target.now(template).done > MIB)

        target.swarm.stop(template.digest)

        assert target.swarm.progress(template.digest) is None
        assert (
            tmp_path / 'target/image'
        ).stat().st_size == template.template.size

    def test_it_closes_in_seconds_in_the_middle_of_a_transfer(
        self, tmp_path, template, source, target
    ):
        target.swarm.set_limits(upload=0, download=4 * MIB)
        target.fetch(template, tmp_path / 'target', source.peer)
        eventually(lambda: target.now(template).done > MIB)

        started = time.monotonic()
        target.swarm.close()

        assert time.monotonic() - started < 5
