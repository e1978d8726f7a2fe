# SPDX-License-Identifier: Apache-2.0
"""Where Nova wants raw: conversions, and originals that are not needed."""

import os
import pathlib

import pytest

from harness.host import digest_of
from tests.unit.imagecache.node import EPOCH
from tests.unit.imagecache.node import Node
from tmpl_glance_store.disk_images import conversion
from tmpl_glance_store.disk_images import derived
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import states

RAW = b'raw form'


@pytest.fixture(autouse=True)
def qemu(monkeypatch):
    """Convert without qemu-img."""

    def inspect(path, declared, max_virtual_size):
        return inspection.Inspected('qcow2', len(RAW))

    def convert(copy, workshop, source, found, *, progress, check):
        check()
        progress(50.0)
        pathlib.Path(copy.base).write_bytes(RAW)
        made = derived.Derived(source, digest_of(RAW), len(RAW), 1.0, 1.0)
        derived.record(copy, made)
        return made

    monkeypatch.setattr(inspection, 'inspect', inspect)
    monkeypatch.setattr(conversion, 'convert', convert)


@pytest.mark.parametrize('keep_original', [True, False])
def test_an_original_is_spare_where_it_is_only_a_cache(
    tmp_path, keep_original
):
    node = Node(tmp_path, force_raw=True, keep_original=keep_original)
    digest = node.hold(b'qcow2', 'a', image_format='qcow2')
    outcome = node.settle()
    assert node.path('a').read_bytes() == RAW
    assert outcome.published == {digest: ('a',)}
    assert outcome.spare == (set() if keep_original else {digest})


def test_a_base_file_that_stands_for_its_original_is_looked_after(tmp_path):
    node = Node(tmp_path, force_raw=True, keep_original=False)
    digest = node.hold(b'qcow2', 'a', image_format='qcow2')
    node.settle()
    node.drop(digest)
    os.utime(node.path('a'), (EPOCH, EPOCH))
    node.clock.now += 3600
    outcome = node.run(images={'a': digest})
    assert outcome.states['a'].state == states.LEFT
    assert 'original' in outcome.states['a'].reason
    assert outcome.spare == set()
    assert node.path('a').stat().st_mtime > EPOCH


def test_the_progress_of_a_conversion_is_shown(tmp_path, monkeypatch):
    node = Node(tmp_path, force_raw=True)
    digest = node.hold(b'qcow2', 'a', image_format='qcow2')
    node.run()
    monkeypatch.setattr(
        node.cache._preparation,
        'progress',
        lambda each: 12.4 if each == digest else None,
    )
    (told,) = node.cache.base_files()
    assert (told.state, told.reason) == (
        states.PREPARING,
        '12 % converted to raw',
    )


def test_a_link_to_the_raw_form_in_no_ledger_is_taken_over(tmp_path):
    node = Node(tmp_path, force_raw=True, publish='symlink')
    node.hold(b'qcow2', 'a', image_format='qcow2')
    node.settle()
    for each in (node.root / 'published').glob('*.json'):
        each.unlink()
    node.restart()
    outcome = node.settle()
    assert outcome.states['a'].state == states.PUBLISHED
    assert node.path('a').read_bytes() == RAW
