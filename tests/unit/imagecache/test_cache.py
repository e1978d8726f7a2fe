# SPDX-License-Identifier: Apache-2.0
"""A pass over the image cache: what it does, and what it leaves alone."""

import os

import pytest

from tests.unit.imagecache import node as nodes
from tests.unit.imagecache.node import Node
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import states


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, 'inspect', nodes.raw)
    return Node(tmp_path)


def state(outcome, image):
    return outcome.states[image].state


def test_each_image_of_a_template_gets_its_base_file(node):
    digest = node.hold(b'data', 'a', 'b')
    outcome = node.settle()
    assert outcome.published == {digest: ('a', 'b')}
    for image in 'a', 'b':
        assert node.path(image).read_bytes() == b'data'


def test_what_is_published_stays_so_after_a_restart(node):
    node.hold(b'data', 'a')
    node.settle()
    before = node.path('a').stat().st_ino
    node.restart()
    assert state(node.run(), 'a') == states.PUBLISHED  # in one pass
    assert node.path('a').stat().st_ino == before


def test_what_nova_has_made_is_left_alone(node):
    node.base.mkdir()
    node.path('a').write_bytes(b'theirs')
    node.hold(b'data', 'a')
    outcome = node.settle()
    assert state(outcome, 'a') == states.FOREIGN
    assert outcome.published == {}
    assert node.path('a').read_bytes() == b'theirs'


def test_one_hostile_template_stops_no_other(node, monkeypatch):
    def inspect(path, *args):
        if os.stat(path).st_size == 1:
            raise inspection.Refused('a bomb')
        if os.stat(path).st_size == 2:
            raise OSError(5, 'the disk')
        return nodes.raw(path, *args)

    monkeypatch.setattr(inspection, 'inspect', inspect)
    hostile = node.hold(b'1', 'a')
    node.hold(b'22', 'b')
    node.hold(b'333', 'c')
    outcome = node.settle()
    assert [state(outcome, each) for each in 'abc'] == [
        states.REFUSED,
        states.FAILED,
        states.PUBLISHED,
    ]
    assert outcome.refusals == {hostile: 'a bomb'}
    assert outcome.next_change > 0


def test_what_lives_is_touched(node):
    node.hold(b'data', 'a')
    node.settle()
    os.utime(node.path('a'), (nodes.EPOCH, nodes.EPOCH))
    node.clock.now += 3599
    node.run()
    assert node.path('a').stat().st_mtime == nodes.EPOCH
    node.clock.now += 1
    node.run()
    assert node.path('a').stat().st_mtime > nodes.EPOCH


def test_without_its_ledger_nothing_is_published_from_a_location(node, caplog):
    node.hold(b'data', 'a')
    (node.root / 'published').write_text('no directory')
    for _ in range(2):
        outcome = node.settle()
        assert outcome.states['a'].reason == f'no ledger in {node.root}'
    assert caplog.text.count('Nothing is published from') == 1
    (node.root / 'published').unlink()
    assert state(node.settle(), 'a') == states.PUBLISHED


def test_without_novas_directory_nothing_is_published(node, caplog):
    node.hold(b'data', 'a')
    node.base.parent.rmdir()
    outcome = node.run()
    assert state(outcome, 'a') == states.FAILED
    assert 'is nova-compute installed' in outcome.states['a'].reason
    node.run()
    assert caplog.text.count('is not published') == 1
    assert not node.base.exists()


def test_new_content_waits_until_nova_has_aged_the_old_one_out(node):
    first = node.hold(b'old', 'a')
    node.settle()
    node.drop(first)
    node.hold(b'new', 'a')
    outcome = node.settle()
    assert state(outcome, 'a') == states.STALE
    assert node.path('a').read_bytes() == b'old'
    node.path('a').unlink()
    assert state(node.settle(), 'a') == states.PUBLISHED
    assert node.path('a').read_bytes() == b'new'


def test_a_base_file_that_outlives_its_image_is_shown_and_then_forgotten(
    node,
):
    digest = node.hold(b'data', 'a')
    node.settle()
    node.drop(digest)
    outcome = node.run()
    assert state(outcome, 'a') == states.LEFT
    assert outcome.published == {}
    node.path('a').unlink()
    assert node.run().states == {}
    assert os.listdir(node.root / 'published') == []


def test_an_image_of_another_cache_is_remembered_and_no_more(node, tmp_path):
    digest = node.hold(b'data', 'a')
    node.settle()
    (tmp_path / 'moved').mkdir()
    moved = Node(
        tmp_path,
        instances_path=str(tmp_path / 'moved'),
        base_directory=str(tmp_path / 'moved' / '_base'),
    )
    assert moved.run().states == {}
    assert len(os.listdir(node.root / 'published')) == 1
    node.drop(digest)
    node.path('a').unlink()
    moved.run()
    assert os.listdir(node.root / 'published') == []


def test_what_is_there_to_know_of_a_base_file_is_told(node):
    digest = node.hold(b'data', 'a')
    node.settle(arriving={'e' * 64: ['b']})
    told = {each.image: each for each in node.cache.base_files()}
    assert told['a'] == states.BaseFile(
        image='a',
        digest=digest,
        state=states.PUBLISHED,
        reason='',
        base_file=str(node.path('a')),
        mode='hardlink',
        converted=False,
        boots_wait=False,
        instances=(),
    )
    assert told['b'].mode is None
    node.cache.close()


def test_the_outcome_of_the_last_pass_stays_to_be_asked_for(node):
    node.hold(b'data', 'a')
    outcome = node.settle()
    assert node.cache.outcome is outcome
