# SPDX-License-Identifier: Apache-2.0
"""Durable writes and creations."""

import errno
import os
import threading

import pytest

from tests.unit.fsutil.support import failing
from tests.unit.fsutil.support import mode_of
from tmpl_glance_store import fsutil


def test_a_durable_write_is_whole_before_it_gets_its_name(directory, calls):
    fsutil.write_durably(f'{directory}/a', b'data', 0o640)
    temp = calls[0][1]
    assert temp.startswith('.')
    assert calls == [
        ('fchmod', temp, 0o640),
        ('fsync', temp, 4),
        ('rename', temp, 'a'),
        ('fsync', 'directory', 'directory'),
    ]
    assert (directory / 'a').read_bytes() == b'data'
    assert mode_of(directory / 'a') == 0o640


def test_a_durable_write_replaces(directory):
    for data in (b'old', b'new'):
        fsutil.write_durably(f'{directory}/a', data)
    assert (directory / 'a').read_bytes() == b'new'
    assert os.listdir(directory) == ['a']
    assert mode_of(directory / 'a') == 0o444


@pytest.mark.parametrize('call', ['fchmod', 'fsync', 'rename'])
@pytest.mark.parametrize('old', [None, b'old'])
def test_a_durable_write_that_fails_changes_nothing(
    monkeypatch, directory, call, old
):
    if old:
        (directory / 'a').write_bytes(old)
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(OSError, match='space'):
        fsutil.write_durably(f'{directory}/a', b'new')
    assert [p.read_bytes() for p in directory.iterdir()] == (
        [old] if old else []
    )


def test_an_interrupted_durable_write_leaves_no_temp(monkeypatch, directory):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', interrupt)
    with pytest.raises(KeyboardInterrupt):
        fsutil.write_durably(f'{directory}/a', b'new')
    assert os.listdir(directory) == []


def test_a_durable_creation_is_whole_before_it_gets_its_name(directory, calls):
    assert fsutil.create_durably(f'{directory}/a', b'data', 0o640)
    linked = [call[0] for call in calls].index('link')
    before, after = calls[:linked], calls[linked + 1 :]
    assert [c for c in before if c[0] == 'fsync' and c[2] == 4]
    assert calls[linked][2] == 'a'
    assert after == [('fsync', 'directory', 'directory')]
    assert (directory / 'a').read_bytes() == b'data'
    assert mode_of(directory / 'a') == 0o640
    assert os.listdir(directory) == ['a']


def test_a_durable_creation_never_replaces(directory):
    (directory / 'a').write_bytes(b'old')
    assert not fsutil.create_durably(f'{directory}/a', b'new')
    assert (directory / 'a').read_bytes() == b'old'
    assert os.listdir(directory) == ['a']


def test_one_of_many_threads_creates_a_file(directory):
    start, told = threading.Barrier(8), {}

    def create(number):
        start.wait(60)
        told[number] = fsutil.create_durably(f'{directory}/a', b'%d' % number)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for number, won in told.items() if won]
    assert (directory / 'a').read_bytes() == b'%d' % winner
    assert os.listdir(directory) == ['a']


@pytest.mark.parametrize('call', ['fchmod', 'fsync', 'link'])
def test_a_durable_creation_that_fails_leaves_nothing(
    monkeypatch, directory, call
):
    monkeypatch.setattr(os, call, failing(errno.EDQUOT))
    with pytest.raises(OSError, match='quota'):
        fsutil.create_durably(f'{directory}/a', b'new')
    assert os.listdir(directory) == []


def test_a_creation_whose_directory_cannot_be_synced_leaves_no_temp(
    monkeypatch, directory
):
    monkeypatch.setattr(fsutil, 'fsync_directory', failing(errno.EIO))
    with pytest.raises(OSError, match='Input/output'):
        fsutil.create_durably(f'{directory}/a', b'new')
    assert set(os.listdir(directory)) <= {'a'}


def test_a_directory_is_made_for_everybody_whatever_the_umask(directory):
    old = os.umask(0o077)
    try:
        fsutil.make_directory(f'{directory}/d')
    finally:
        os.umask(old)
    assert mode_of(directory / 'd') == 0o755
    (directory / 'd').chmod(0o700)
    fsutil.make_directory(f'{directory}/d')
    assert mode_of(directory / 'd') == 0o700
