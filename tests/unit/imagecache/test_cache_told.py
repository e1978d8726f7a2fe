# SPDX-License-Identifier: Apache-2.0
"""What the image cache tells others, and what others tell it."""

import pytest

from tests.unit.imagecache import node as nodes
from tests.unit.imagecache.node import Node
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import states


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, 'inspect', nodes.raw)
    return Node(tmp_path, publish='copy')


def test_a_download_of_novas_is_taken_once(node):
    node.run()
    node.cache.downloads_began()
    node.path('a').write_bytes(b'theirs')
    assert node.cache.downloads_began()
    assert node.cache.take_downloads(['a', 'b']) == {'a'}
    assert node.cache.take_downloads(['a', 'b']) == set()


def test_who_does_not_fetch_for_boots_notices_none(tmp_path):
    node = Node(tmp_path, fetch_on_boot=False)
    node.run()
    node.path('a').with_suffix('.part').touch()
    assert not node.cache.downloads_began()
    assert node.cache.take_downloads(['a']) == set()


def test_a_proof_of_a_base_file_is_noted(node):
    node.hold(b'data', 'a')
    node.settle()
    assert list(node.cache.due(100)) == []
    node.clock.now += 101
    (proof,) = node.cache.due(100)
    assert proof.path == str(node.path('a'))
    proof.tell(True)
    assert list(node.cache.due(100)) == []


def test_damage_is_told_with_the_instances_and_nothing_is_removed(
    node, monkeypatch, caplog
):
    node.hold(b'data', 'a')
    node.settle()
    node.clock.now += 101
    (proof,) = node.cache.due(100)
    monkeypatch.setattr(
        node.cache._instances,
        'by_base',
        lambda: {node.path('a').name: ['vm1', 'vm2']},
    )
    proof.tell(False)
    assert 'instances on it: vm1, vm2' in caplog.text
    assert node.run().states['a'].state == states.DAMAGED
    assert node.path('a').exists()
    (told,) = node.cache.base_files()
    assert told.instances == ('vm1', 'vm2')
