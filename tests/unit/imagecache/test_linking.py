# SPDX-License-Identifier: Apache-2.0
"""The ways in which a copy becomes a base file."""

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
