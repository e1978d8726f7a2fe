# SPDX-License-Identifier: Apache-2.0
"""Which user reaches which file."""

import os
import stat

import pytest

from tests.unit.imagecache.parts import STRANGER
from tmpl_glance_store.imagecache import people

root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can change owners'
)


@root_only
@pytest.mark.parametrize(
    ('mode', 'gid', 'may'),
    [
        (0o755, 0, True),
        (0o750, 0, False),
        (0o750, STRANGER, True),
        (0o705, STRANGER, False),
    ],
)
def test_a_directory_on_the_way_may_be_an_obstacle(tmp_path, mode, gid, may):
    for each in (*tmp_path.parents, tmp_path):
        if stat.S_IMODE(each.stat().st_mode) & 0o001 == 0:
            each.chmod(0o755)
    inner = tmp_path / 'location'
    inner.mkdir()
    (inner / 'image').touch(0o444)
    os.chown(inner, 0, gid)
    inner.chmod(mode)
    obstacle = people.Person.of(STRANGER, STRANGER).obstacle(
        str(inner / 'image')
    )
    assert (obstacle is None) == may
    assert may or 'cannot enter' in obstacle
    assert people.Person.of(0).obstacle(str(inner / 'image')) is None


@root_only
def test_a_file_on_the_way_may_be_an_obstacle_itself(tmp_path):
    for each in (*tmp_path.parents, tmp_path):
        if stat.S_IMODE(each.stat().st_mode) & 0o001 == 0:
            each.chmod(0o755)
    (tmp_path / 'image').touch(0o440)
    obstacle = people.Person.of(STRANGER, STRANGER).obstacle(
        str(tmp_path / 'image')
    )
    assert obstacle.startswith(f'{STRANGER} cannot read')


def test_a_user_is_in_all_groups_of_the_host(tmp_path):
    assert people.Person.of(0).name == 'root'
