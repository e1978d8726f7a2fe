# SPDX-License-Identifier: Apache-2.0
"""The ways in which a copy becomes a base file."""

import errno
import os

import pytest

from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import owner_of
from tmpl_glance_store import exceptions
from tmpl_glance_store.imagecache import linking


@pytest.mark.parametrize('publish', ['hardlink', 'symlink'])
def test_a_file_that_is_there_is_not_replaced(tmp_path, linker, publish):
    (tmp_path / 'image').write_bytes(b'ours')
    base = tmp_path / 'base'
    base.write_bytes(b'theirs')
    links = linker(publish)
    _, temp = links.make(
        str(tmp_path / 'image'), lambda: str(tmp_path / 'image')
    )
    assert not links.place(temp, str(base))
    assert base.read_bytes() == b'theirs'
    base.unlink()
    _, temp = links.make(
        str(tmp_path / 'image'), lambda: str(tmp_path / 'image')
    )
    assert links.place(temp, str(base))
    assert base.read_bytes() == b'ours'
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        'base',
        'image',
    ]


def test_a_way_that_does_not_work_says_why(tmp_path, linker):
    (tmp_path / 'image').write_bytes(b'ours')
    other = '/dev/shm/tmpl-test-other'
    links = linking.Linker('/dev/shm', 'hardlink', 0o644, owner_of('/dev/shm'))
    if os.stat('/dev/shm').st_dev == tmp_path.stat().st_dev:
        pytest.skip('one file system')
    with pytest.raises(
        exceptions.WriteDenied, match='no hardlink: Invalid cross-device link'
    ):
        links.make(str(tmp_path / 'image'), lambda: other)
    assert not [
        each for each in os.listdir('/dev/shm') if each.startswith('.tmpl-')
    ]


def test_what_a_crash_left_is_cleaned(tmp_path, linker):
    (tmp_path / '.tmpl-1').write_bytes(b'half')
    (tmp_path / NAME).write_bytes(b'whole')
    linker('auto').clean()
    assert [each.name for each in tmp_path.iterdir()] == [NAME]


def test_what_cannot_be_made_at_all_is_not_tried_in_other_ways(
    tmp_path, linker, monkeypatch
):
    def full(source, target):
        raise OSError(errno.ENOSPC, 'full')

    (tmp_path / 'image').write_bytes(b'ours')
    monkeypatch.setattr(os, 'link', full)
    with pytest.raises(OSError, match='full'):
        linker('hardlink').make(str(tmp_path / 'image'), str)
    assert os.listdir(tmp_path) == ['image']


def test_a_link_that_the_kernel_forbids_names_the_right(
    tmp_path, linker, monkeypatch
):
    def forbidden(source, target):
        raise OSError(errno.EPERM, 'not permitted')

    (tmp_path / 'image').write_bytes(b'ours')
    monkeypatch.setattr(os, 'link', forbidden)
    with pytest.raises(exceptions.WriteDenied, match='CAP_FOWNER'):
        linker('hardlink').make(str(tmp_path / 'image'), str)


def test_where_links_do_not_work_the_file_is_reached_by_a_symbolic_one(
    tmp_path, linker, monkeypatch
):
    def other_disk(source, target):
        raise OSError(errno.EXDEV, 'another disk')

    (tmp_path / 'image').write_bytes(b'ours')
    monkeypatch.setattr(os, 'link', other_disk)
    monkeypatch.setattr(linking.fsutil, 'share_extents', other_disk)
    way, temp = linker('auto').make(str(tmp_path / 'image'), lambda: '/held')
    assert (way, os.readlink(temp)) == ('symlink', '/held')


@pytest.mark.parametrize(
    ('publish', 'links', 'copies'),
    [
        ('auto', True, False),
        ('auto', False, True),
        ('copy', True, True),
        ('hardlink', True, False),
    ],
)
def test_complete_clones_need_copies(linker, publish, links, copies):
    assert linker(publish, links=links).copies == copies


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path, linker):
    class Enough(Exception):
        pass

    def stop():
        raise Enough

    (tmp_path / 'image').write_bytes(b'ours')
    with pytest.raises(Enough):
        linker('copy').copy(str(tmp_path / 'image'), stop)
    assert os.listdir(tmp_path) == ['image']


def test_a_whole_copy_has_the_mode_that_was_asked_for(tmp_path, linker):
    (tmp_path / 'image').write_bytes(b'ours')
    (tmp_path / 'image').chmod(0o444)
    way, temp = linker('copy').copy(str(tmp_path / 'image'), lambda: None)
    assert way == 'copy'
    assert os.stat(temp).st_mode & 0o777 == 0o644
    with open(temp, 'rb') as file:
        assert file.read() == b'ours'


def test_what_is_not_there_is_not_fixed(tmp_path):
    assert not linking.fixed(str(tmp_path / 'gone'))
    (tmp_path / 'file').touch()
    assert not linking.fixed(str(tmp_path / 'file'))
