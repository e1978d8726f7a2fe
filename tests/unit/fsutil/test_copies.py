# SPDX-License-Identifier: Apache-2.0
"""Copies, by sharing extents or not."""

import errno
import fcntl
import os

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.fsutil.support import KIB
from tests.unit.fsutil.support import MIB
from tests.unit.fsutil.support import SETTINGS
from tests.unit.fsutil.support import copied
from tests.unit.fsutil.support import data_bytes
from tests.unit.fsutil.support import failing
from tests.unit.fsutil.support import name_of
from tmpl_glance_store import fsutil

#: Errors of copy_file_range between file systems, or of an older kernel.
ELSEWHERE = [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP]


def test_a_copy_keeps_the_bytes_and_the_holes(tmp_path, holey):
    copied(holey, tmp_path / 'target')
    assert (tmp_path / 'target').read_bytes() == holey.read_bytes()
    assert data_bytes(tmp_path / 'target') == data_bytes(holey) < 256 * KIB


@pytest.mark.parametrize('number', ELSEWHERE)
def test_a_copy_to_another_file_system_keeps_the_bytes_and_the_holes(
    monkeypatch, tmp_path, holey, number
):
    monkeypatch.setattr(os, 'copy_file_range', failing(number))
    assert copied(holey, tmp_path / 'target') is False
    assert (tmp_path / 'target').read_bytes() == holey.read_bytes()
    assert data_bytes(tmp_path / 'target') == data_bytes(holey)


@SETTINGS
@hypothesis.given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20_000)), max_size=6),
    st.booleans(),
)
def test_any_file_is_copied(tmp_path, parts, elsewhere):
    source, target = tmp_path / 'source', tmp_path / 'target'
    with open(source, 'wb') as file:
        for hole, size in parts:
            if hole:
                file.seek(size, os.SEEK_CUR)
            else:
                file.write(os.urandom(size))
        file.truncate()
    with pytest.MonkeyPatch.context() as patch:
        if elsewhere:
            patch.setattr(os, 'copy_file_range', failing(errno.EXDEV))
        copied(source, target)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize('elsewhere', [True, False])
def test_a_copy_goes_on_after_a_short_step(
    monkeypatch, tmp_path, holey, elsewhere
):
    real, pwrite = os.copy_file_range, os.pwrite
    monkeypatch.setattr(
        os,
        'copy_file_range',
        failing(errno.EXDEV)
        if elsewhere
        else (lambda s, t, count, *at: real(s, t, min(count, 1000), *at)),
    )
    monkeypatch.setattr(
        os, 'pwrite', lambda fd, data, at: pwrite(fd, data[:1000], at)
    )
    copied(holey, tmp_path / 'target')
    assert (tmp_path / 'target').read_bytes() == holey.read_bytes()


def test_extents_are_shared_where_the_file_system_can(
    monkeypatch, tmp_path, holey
):
    asked = []
    monkeypatch.setattr(
        fcntl,
        'ioctl',
        lambda target, *args: asked.append(
            (name_of(target), args[0], name_of(args[1]))
        ),
    )
    monkeypatch.setattr(os, 'copy_file_range', failing(errno.EIO))
    assert copied(holey, tmp_path / 'target') is True
    assert asked == [('target', 0x40049409, 'source')]


@pytest.mark.parametrize(
    'number', [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY]
)
def test_where_extents_cannot_be_shared_the_bytes_are_copied(
    monkeypatch, tmp_path, holey, number
):
    monkeypatch.setattr(fcntl, 'ioctl', failing(number))
    assert copied(holey, tmp_path / 'target') is False
    assert (tmp_path / 'target').read_bytes() == holey.read_bytes()


def test_a_full_disk_is_not_taken_for_one_that_cannot_share(
    monkeypatch, tmp_path, holey
):
    monkeypatch.setattr(fcntl, 'ioctl', failing(errno.ENOSPC))
    with pytest.raises(OSError, match='space'):
        copied(holey, tmp_path / 'target')


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_copy_that_fails_is_told(monkeypatch, tmp_path, holey, number):
    monkeypatch.setattr(os, 'copy_file_range', failing(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        copied(holey, tmp_path / 'target')


@pytest.mark.parametrize('elsewhere', [True, False])
def test_a_source_that_becomes_shorter_is_an_error(
    monkeypatch, tmp_path, holey, elsewhere
):
    monkeypatch.setattr(
        os,
        'copy_file_range',
        failing(errno.EXDEV) if elsewhere else lambda *args: 0,
    )
    monkeypatch.setattr(os, 'pread', lambda *args: b'')
    with pytest.raises(OSError, match='shorter'):
        copied(holey, tmp_path / 'target')


def test_the_extents_of_a_file_are_told_without_its_holes(tmp_path):
    path = tmp_path / 'f'
    for size, content, expected in (
        (0, b'', []),
        (MIB, b'', []),
        (64 * KIB, b'x' * 64 * KIB, [(0, 64 * KIB)]),
        (MIB, b'x' * 64 * KIB, [(0, 64 * KIB)]),
    ):
        path.write_bytes(content)
        os.truncate(path, size)
        with open(path, 'rb') as file:
            assert list(fsutil.data_extents(file.fileno(), size)) == expected
