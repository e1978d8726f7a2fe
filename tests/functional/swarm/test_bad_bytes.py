# SPDX-License-Identifier: Apache-2.0
"""Liars, and copies that rot."""

import time

import pytest

pytest.importorskip('libtorrent')

from harness.contents import Content
from tests.functional.swarm.nodes import MIB
from tests.functional.swarm.nodes import Node
from tests.functional.swarm.nodes import eventually
from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import progress
from tmpl_glance_store.swarm import settings


class TestBadBytes:
    def test_a_liar_is_banned_and_nothing_of_it_counts(
        self, tmp_path, template, target, monkeypatch
    ):
        lie = bytearray(template.data)
        for at in range(0, len(lie), 100_000):
            lie[at] ^= 1
        Content(bytes(lie), template.template, b'').write(tmp_path / 'liar')
        monkeypatch.setitem(settings.SETTINGS, 'disable_hash_checks', True)
        with Node('127.0.0.4') as liar:
            liar.seed(template, tmp_path / 'liar')
            target.fetch(template, tmp_path / 'target', liar.peer)
            eventually(lambda: target.now(template).banned)
            time.sleep(1)

            now = target.now(template)
        assert now.banned == ('127.0.0.4',)
        assert now.done == 0
        assert now.downloaded < 8 * MIB
        assert now.state == progress.FETCHING

    def test_an_honest_peer_makes_up_for_a_liar(
        self, tmp_path, template, source, target, monkeypatch
    ):
        lie = bytearray(template.data)
        lie[::1000] = bytes(len(lie[::1000]))
        Content(bytes(lie), template.template, b'').write(tmp_path / 'liar')
        monkeypatch.setitem(settings.SETTINGS, 'disable_hash_checks', True)
        with Node('127.0.0.4') as liar:
            liar.seed(template, tmp_path / 'liar')
            target.fetch(template, tmp_path / 'target', liar.peer, source.peer)
            target.wait(template)

        assert (tmp_path / 'target/image').read_bytes() == template.data

    def test_a_copy_that_rots_is_not_served_and_not_mended(
        self, tmp_path, template, source, target
    ):
        rotten = bytearray(template.data)
        for at in range(0, len(rotten), 256 << 10):
            rotten[at] ^= 0x80
        copy = Content(bytes(rotten), template.template, b'')
        path = copy.write(tmp_path / 'rotten')
        before = path.stat()
        with Node('127.0.0.4') as rotting:
            rotting.seed(template, tmp_path / 'rotten')
            rotting.swarm.connect(template.digest, [source.peer])
            target.fetch(template, tmp_path / 'target', rotting.peer)
            rotting.wait(template, progress.FAILED)

            assert isinstance(
                rotting.now(template).error, exceptions.CorruptCopy
            )
            assert not target.now(template).downloaded
        assert path.read_bytes() == copy.data
        assert path.stat().st_mtime_ns == before.st_mtime_ns
