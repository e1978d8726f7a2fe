# SPDX-License-Identifier: Apache-2.0
"""How a base file of ours is known again."""

import errno
import json
import os

import pytest

from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import entry
from tmpl_glance_store.imagecache import entries


def test_an_entry_of_other_types_is_none(tmp_path):
    (tmp_path / NAME).write_bytes(b'x')
    ours = entry(tmp_path / NAME)
    assert entries.Entry.from_json(ours.to_json()) == ours
    fields = json.loads(ours.to_json())
    for name, value in (
        ('inode', '1'),
        ('name', None),
        ('name', '../../etc'),
        ('target', []),
        ('digest', '0'),
        ('directory', 'not/absolute'),
        ('version', 1),
    ):
        with pytest.raises(ValueError, match=name):
            entries.Entry.from_json(json.dumps({**fields, name: value}))


def test_a_base_file_is_ours_if_it_is_the_very_file(tmp_path):
    base, other = tmp_path / NAME, tmp_path / 'other'
    base.write_bytes(b'x')
    other.write_bytes(b'x')
    ours = entry(base)
    assert ours.is_there()
    other.rename(base)
    assert not ours.is_there()
    base.unlink()
    assert not ours.is_there()


def test_of_a_file_system_that_is_not_mounted_nothing_is_known(tmp_path):
    (tmp_path / NAME).write_bytes(b'x')
    below = entry(tmp_path / NAME, mount='/srv/nova')
    for mount, hidden in (
        ('/', True),
        ('/srv', True),
        ('/srv/nova', False),
        ('/srv/nova/deeper', False),
        ('/srv/no', False),
    ):
        assert below.is_hidden(mount) == hidden, mount
    assert not entry(tmp_path / NAME).is_hidden('/')


def test_a_mark_tells_files_with_one_number_apart(tmp_path):
    base = tmp_path / NAME
    with base.open('wb') as file:
        entries.set_mark(file.fileno())
    mark = entries.read_mark(str(base))
    if not mark:
        pytest.skip('this file system has no extended attributes')
    assert entry(base, mark=mark).is_there()
    with base.open('wb') as file:  # the same inode, another life
        entries.set_mark(file.fileno())
    assert not entry(base, mark=mark).is_there()


def test_a_link_is_ours_if_it_leads_where_it_should(tmp_path):
    link = tmp_path / NAME
    link.symlink_to('/somewhere')
    ours = entry(link, target='/somewhere', inode=0)
    assert ours.is_there()
    link.unlink()
    link.symlink_to('/elsewhere')
    assert not ours.is_there()


def test_a_file_system_without_attributes_has_no_marks(tmp_path, monkeypatch):
    def none(*args):
        raise OSError(errno.EOPNOTSUPP, 'not supported')

    (tmp_path / NAME).touch()
    monkeypatch.setattr(os, 'setxattr', none)
    monkeypatch.setattr(os, 'getxattr', none)
    with (tmp_path / NAME).open('wb') as file:
        entries.set_mark(file.fileno())
    assert entries.read_mark(str(tmp_path / NAME)) == ''


def test_a_mark_that_cannot_be_read_is_not_taken_for_none(
    tmp_path, monkeypatch
):
    def broken(*args):
        raise OSError(errno.EIO, 'the disk')

    monkeypatch.setattr(os, 'getxattr', broken)
    with pytest.raises(OSError, match='the disk'):
        entries.read_mark(str(tmp_path))
