# SPDX-License-Identifier: Apache-2.0
"""Whether a disk rotates."""

import pytest


@pytest.mark.parametrize(
    ('flag', 'answer'), [(0, False), (1, True), (None, None)]
)
def test_a_disk_tells_whether_it_rotates(sysfs, lies_on, flag, answer):
    sysfs.block('sda', '8:0', flag)
    lies_on('/srv', 8, 0)
    assert sysfs.rotates('/srv') is answer


def test_a_device_that_sysfs_does_not_show_is_unknown(sysfs, lies_on):
    lies_on('/srv', 8, 0)
    assert sysfs.rotates('/srv') is None


@pytest.mark.parametrize('flag', [0, 1])
def test_a_partition_is_as_its_disk(sysfs, lies_on, flag):
    disk = sysfs.block('nvme0n1', '259:0', flag)
    sysfs.partition(disk, 'nvme0n1p2', '259:2')
    lies_on('/srv', 259, 2)
    assert sysfs.rotates('/srv') is bool(flag)


@pytest.mark.parametrize(
    ('flags', 'answer'),
    [
        ((0, 0), False),
        ((0, 1), True),
        ((1, 1), True),
        ((None, 1), True),
        ((None, 0), False),
        ((None, None), None),
    ],
)
def test_a_volume_on_raid_rotates_if_one_of_its_disks_does(
    sysfs, lies_on, flags, answer
):
    disks = [
        sysfs.block(f'sd{x}', f'8:{16 * n}', flag)
        for n, (x, flag) in enumerate(zip('ab', flags, strict=True))
    ]
    # One disk whole, of the other one a partition.
    raid = sysfs.block(
        'md0', '9:0', 0, [disks[0], sysfs.partition(disks[1], 'sdb1', '8:17')]
    )
    crypt = sysfs.block('dm-0', '253:0', 0, [raid])
    sysfs.block('dm-1', '253:1', 0, [crypt])
    lies_on('/srv', 253, 1)
    assert sysfs.rotates('/srv') is answer


def test_a_partition_of_a_raid_is_as_the_disks_beneath(sysfs, lies_on):
    raid = sysfs.block('md0', '9:0', 0, [sysfs.block('sda', '8:0', 1)])
    sysfs.partition(raid, 'md0p1', '259:0')
    lies_on('/srv', 259, 0)
    assert sysfs.rotates('/srv') is True


def test_a_file_system_without_a_disk_is_unknown(sysfs, lies_on):
    lies_on('/srv', 0, 40)
    sysfs.mount('/', '/dev/gone')
    sysfs.mount('/srv', 'tmpfs')
    assert sysfs.rotates('/srv') is None
