# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, read-only, or empty."""

import subprocess

import pytest

pytest.importorskip('libtorrent')

from tests.functional.swarm.nodes import Node
from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import progress


class TestDisk:
    def test_a_full_disk_is_reported(
        self, small_disk, template, source, target
    ):
        target.fetch(template, small_disk / 'target', source.peer)
        target.wait(template, progress.FAILED)

        assert isinstance(target.now(template).error, exceptions.NoSpace)

    def test_a_fetch_goes_on_when_there_is_room_again(
        self, small_disk, template, source, target
    ):
        target.fetch(template, small_disk / 'target', source.peer)
        target.wait(template, progress.FAILED)
        subprocess.run(
            ['mount', '-o', 'remount,size=64m', small_disk], check=True
        )

        target.fetch(template, small_disk / 'target')
        target.wait(template)

        image = small_disk / 'target/image'
        assert image.read_bytes() == template.data

    def test_a_read_only_disk_is_reported(self, small_disk, template, target):
        (small_disk / 'target').mkdir()
        subprocess.run(['mount', '-o', 'remount,ro', small_disk], check=True)

        target.fetch(template, small_disk / 'target')
        target.wait(template, progress.FAILED)

        assert isinstance(target.now(template).error, exceptions.WriteDenied)

    def test_a_seed_without_its_file_is_reported(
        self, tmp_path, template, target
    ):
        (tmp_path / 'gone').mkdir()
        with Node('127.0.0.2') as source:
            source.seed(template, tmp_path / 'gone')
            target.fetch(template, tmp_path / 'target', source.peer)

            source.wait(template, progress.FAILED)
