# SPDX-License-Identifier: Apache-2.0
"""One base file: made, noted, and put into place under Nova's lock."""

import os
import types

import pytest

from tests.unit.imagecache.nova_locks import guards_of
from tests.unit.imagecache.parts import DIGEST
from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import Clock
from tests.unit.imagecache.parts import ledger_of
from tests.unit.imagecache.parts import owner_of
from tmpl_glance_store import exceptions
from tmpl_glance_store.imagecache import decision
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache import prepared
from tmpl_glance_store.imagecache import publication
from tmpl_glance_store.imagecache import states


class Site:
    """What a publication needs, for one base file."""

    def __init__(self, root, publish):
        self.book = ledger_of(root)
        self.path = root / NAME
        self.image = root / 'image'
        self.image.write_bytes(b'ours')
        self.owner = owner_of(root)
        self.guards = guards_of(root)
        self.linker = linking.Linker(str(root), publish, 0o644, self.owner)

    def publish(self):
        return publication.Publication(
            self.linker, self.guards, self.owner, Clock()
        ).publish(
            types.SimpleNamespace(digest=DIGEST),
            'image',
            str(self.path),
            prepared.Prepared(str(self.image), DIGEST, 4, False),
            self.book,
        )


@pytest.fixture(params=['hardlink', 'symlink'])
def site(tmp_path, request):
    return Site(tmp_path, request.param)


def left(site):
    """Return what is beside the base file, and should not be."""
    return [
        each.name
        for each in site.path.parent.iterdir()
        if each.name.startswith('.tmpl-')
    ]


def test_what_is_published_is_noted(site):
    assert site.publish().state == states.PUBLISHED
    assert site.path.read_bytes() == b'ours'
    entry = site.book.entries[NAME]
    assert entry.is_there()
    assert (entry.digest, entry.image_id) == (DIGEST, 'image')
    assert not left(site)


def test_novas_lock_is_respected(site, monkeypatch):
    monkeypatch.setattr(site.guards._locks, 'take', lambda name: None)
    assert site.publish().state == states.WAITING
    assert not os.path.lexists(site.path)
    assert site.book.all() == []


@pytest.mark.parametrize('link', [False, True])
def test_what_has_come_meanwhile_is_not_replaced(site, link):
    if link:
        site.path.symlink_to('/nowhere')
    else:
        site.path.write_bytes(b'theirs')
    before = os.lstat(site.path)
    assert site.publish() == decision.FOREIGN
    after = os.lstat(site.path)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert after.st_mtime_ns == before.st_mtime_ns
    assert not left(site)


def test_what_comes_in_the_last_moment_is_not_replaced(site, monkeypatch):
    write = site.book.write

    def slow(entry):
        write(entry)
        site.path.write_bytes(b'theirs')  # who does not ask for the lock

    monkeypatch.setattr(site.book, 'write', slow)
    assert site.publish() == decision.FOREIGN
    assert site.path.read_bytes() == b'theirs'
    assert not site.book.entries[NAME].is_there()
    assert not left(site)


def test_nothing_of_ours_goes_unnoticed(site, monkeypatch):
    def full(entry):
        raise exceptions.NoSpace('full')

    monkeypatch.setattr(site.book, 'write', full)
    with pytest.raises(exceptions.NoSpace):
        site.publish()
    assert not os.path.lexists(site.path)
    assert not left(site)


def test_a_dangling_link_of_ours_leads_somewhere_again(tmp_path):
    site = Site(tmp_path, 'symlink')
    site.publish()
    os.unlink(os.readlink(site.path))
    assert not site.path.exists()
    assert site.publish().state == states.PUBLISHED
    assert site.path.read_bytes() == b'ours'


@pytest.mark.parametrize(
    ('sabotage', 'reason'),
    [
        (
            lambda patch: patch.setattr(linking, 'fixed', lambda path: True),
            'immutable',
        ),
        (
            lambda patch: patch.setattr(
                os,
                'statvfs',
                lambda path: types.SimpleNamespace(f_flag=os.ST_RDONLY),
            ),
            'read-only',
        ),
    ],
)
def test_what_would_turn_boots_into_errors_is_not_published(
    site, monkeypatch, sabotage, reason
):
    sabotage(monkeypatch)
    with pytest.raises(exceptions.WriteDenied, match=reason):
        site.publish()
    assert not os.path.lexists(site.path)


def test_a_link_that_nova_cannot_follow_is_not_published(
    tmp_path, monkeypatch
):
    site = Site(tmp_path, 'symlink')
    stranger = types.SimpleNamespace(obstacle=lambda path: 'qemu cannot enter')
    monkeypatch.setattr(site.owner, 'readers', lambda: [stranger])
    with pytest.raises(exceptions.WriteDenied, match='tmpl_store_group'):
        site.publish()
    assert not os.path.lexists(site.path)
