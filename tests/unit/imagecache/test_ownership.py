# SPDX-License-Identifier: Apache-2.0
"""Whose Nova's files are."""

import os
import pwd

import pytest

from tests.unit.imagecache.parts import STRANGER
from tests.unit.imagecache.parts import owner_of

root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can change owners'
)


@root_only
@pytest.mark.parametrize('name', [None, 'nobody'])
def test_novas_group_is_that_of_its_user_if_the_host_knows_it(tmp_path, name):
    known = pwd.getpwnam(name) if name else None
    user, group = (known.pw_uid, known.pw_gid) if known else (STRANGER, 0)
    os.chown(tmp_path, user, 0)
    assert owner_of(tmp_path).nova() == (user, group)
    assert owner_of(tmp_path, group=7).nova() == (user, 7)
    assert owner_of(tmp_path, user=3, group=7).nova() == (3, 7)


@root_only
def test_guests_run_as_the_user_that_the_operator_names(tmp_path):
    os.chown(tmp_path, 0, 0)
    names = [each.name for each in owner_of(tmp_path, hypervisor=7).readers()]
    assert len(names) == 2
    assert names[1] == pwd.getpwuid(7).pw_name


def test_guests_run_as_whom_the_host_has_for_them(tmp_path, monkeypatch):
    known = pwd.getpwuid(0)

    def find(name):
        if name != 'qemu':
            raise KeyError(name)
        return known

    monkeypatch.setattr(pwd, 'getpwnam', find)
    readers = owner_of(tmp_path, user=1, group=1).readers()
    assert [each.name for each in readers][1:] == [known.pw_name]
