# SPDX-License-Identifier: Apache-2.0
"""Zeros neither travel nor take room."""

import os

import pytest

pytest.importorskip('libtorrent')

from harness.contents import content
from tests.functional.swarm.nodes import MIB
from tests.functional.swarm.nodes import Node


class TestHoles:
    def test_pieces_of_zeros_are_not_fetched(self, tmp_path, target):
        data = bytearray(64 * MIB)
        data[10 * MIB : 11 * MIB] = os.urandom(MIB)
        what = content(bytes(data))
        what.write(tmp_path / 'source')
        with Node('127.0.0.2') as source:
            source.seed(what, tmp_path / 'source')

            target.fetch(what, tmp_path / 'target', source.peer)
            target.wait(what)

            assert source.now(what).uploaded == MIB
        image = tmp_path / 'target/image'
        assert image.read_bytes() == what.data
        assert image.stat().st_blocks * 512 <= MIB + 64 * 1024

    @pytest.mark.parametrize('size', [100, 200_000, MIB + 5, 3 * MIB])
    def test_a_file_of_zeros_needs_no_peer(self, tmp_path, target, size):
        what = content(bytes(size))

        target.fetch(what, tmp_path / 'target')
        target.wait(what)

        image = tmp_path / 'target/image'
        assert image.read_bytes() == what.data
        assert not image.stat().st_blocks

    def test_zeros_within_a_piece_become_holes(self, tmp_path, target):
        piece = bytearray(os.urandom(256 << 10))
        piece[64 << 10 : 192 << 10] = bytes(128 << 10)
        what = content(bytes(piece) * 16)
        what.write(tmp_path / 'source')
        with Node('127.0.0.2') as source:
            source.seed(what, tmp_path / 'source')

            target.fetch(what, tmp_path / 'target', source.peer)
            target.wait(what)

        image = tmp_path / 'target/image'
        assert image.read_bytes() == what.data
        assert image.stat().st_blocks * 512 <= 2 * MIB + 64 * 1024
