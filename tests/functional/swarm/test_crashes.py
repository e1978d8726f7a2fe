# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed, and come back."""

import time

import pytest

pytest.importorskip('libtorrent')


from tests.functional.swarm.nodes import MIB
from tests.functional.swarm.nodes import Process
from tests.functional.swarm.nodes import eventually


class TestCrashes:
    def test_a_killed_receiver_fetches_only_what_it_lacks(
        self, tmp_path, template, source, target
    ):
        with Process(
            'fetch',
            '127.0.0.4',
            tmp_path / 'target',
            template,
            download_limit=8 * MIB,
        ) as killed:
            source.swarm.connect(template.digest, [killed.peer])
            eventually(lambda: source.now(template).uploaded > 12 * MIB)
            killed.kill()
        # What the killed one had asked for may still be on its way out.
        before = source.now(template).uploaded

        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)

        assert (tmp_path / 'target/image').read_bytes() == template.data
        missing = len(template.data) - before
        assert target.now(template).downloaded < missing + 6 * MIB

    def test_bytes_that_never_reached_the_disk_are_fetched_again(
        self, tmp_path, template, source, target
    ):
        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)
        target.swarm.stop(template.digest)
        with open(tmp_path / 'target/image', 'r+b') as file:
            file.seek(5 * MIB)
            file.write(bytes(MIB))  # as after a power loss

        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)

        assert (tmp_path / 'target/image').read_bytes() == template.data
        assert target.now(template).downloaded == MIB

    def test_a_killed_seeder_may_come_back(self, tmp_path, template, target):
        template.write(tmp_path / 'source')
        with Process(
            'seed',
            '127.0.0.4',
            tmp_path / 'source',
            template,
            upload_limit=8 * MIB,
        ) as seeder:
            target.fetch(template, tmp_path / 'target', seeder.peer)
            eventually(lambda: target.now(template).done > 6 * MIB)
            seeder.kill()
            eventually(lambda: not target.now(template).peers)
        with Process(
            'seed',
            '127.0.0.4',
            tmp_path / 'source',
            template,
            port=seeder.peer[1],
        ):
            started = time.monotonic()
            while target.ended.empty() and time.monotonic() - started < 30:
                target.swarm.connect(template.digest, [seeder.peer])
                time.sleep(0.5)
            target.wait(template)

        assert time.monotonic() - started < 20
        assert target.now(template).downloaded < len(template.data) + 4 * MIB
