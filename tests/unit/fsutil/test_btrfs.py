# SPDX-License-Identifier: Apache-2.0
"""Whether the disk beneath btrfs rotates."""

import stat

import pytest

from tmpl_glance_store import fsutil


@pytest.mark.parametrize(
    ('mounts', 'answer'),
    [
        ([('/', '/dev/ssd')], False),
        ([('/', '/dev/ssd'), ('/srv', '/dev/hdd')], True),
        ([('/srv', '/dev/hdd'), ('/', '/dev/ssd')], True),
        ([('/', '/dev/ssd'), ('/srv/tmpl/deeper', '/dev/hdd')], False),
        ([('/', '/dev/ssd'), ('/sr', '/dev/hdd')], False),
        ([('/', '/dev/ssd'), ('/srv/tmp', '/dev/hdd')], False),
        ([('/srv', '/dev/ssd'), ('/srv/tmpl', '/dev/hdd')], True),
        # The later one hides the one beneath.
        ([('/srv', '/dev/hdd'), ('/srv', '/dev/ssd')], False),
    ],
)
def test_btrfs_is_as_the_device_that_its_mount_names(
    two_disks, lies_on, mounts, answer
):
    lies_on('/srv/tmpl', 0, 40)
    for point, source in mounts:
        two_disks.mount(point, source)
    assert two_disks.rotates('/srv/tmpl') is answer


@pytest.mark.parametrize('name', ['a b', 'a\\b', 'Bär', '磁盘'])
def test_the_mount_point_may_have_any_name(two_disks, lies_on, tmp_path, name):
    path = tmp_path / name
    path.mkdir()
    lies_on(path, 0, 40)
    two_disks.mount('/', '/dev/ssd')
    # The kernel shows blanks and backslashes in octal, all else as it is.
    two_disks.mount(
        str(path).replace('\\', r'\134').replace(' ', r'\040'), '/dev/hdd'
    )
    assert two_disks.rotates(path) is True


def test_btrfs_is_found_through_a_symlink(two_disks, lies_on, tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    lies_on(tmp_path / 'link', 0, 40)
    two_disks.mount('/', '/dev/ssd')
    two_disks.mount(tmp_path / 'real', '/dev/hdd')
    assert two_disks.rotates(tmp_path / 'link') is True


def test_a_mount_of_what_is_no_block_device_is_unknown(two_disks, lies_on):
    lies_on('/dev/char', 8, 1, stat.S_IFCHR)
    lies_on('/srv', 0, 40)
    two_disks.mount('/srv', '/dev/char')
    assert two_disks.rotates('/srv') is None


def test_the_real_kernel_is_asked_by_default(tmp_path):
    assert fsutil.rotates(str(tmp_path)) in (True, False, None)
    with pytest.raises(FileNotFoundError):
        fsutil.rotates(str(tmp_path / 'x'))
