# SPDX-License-Identifier: Apache-2.0
"""Nova's own locks of base files."""

import os
import stat
import subprocess
import sys

import pytest

from tests.unit.imagecache.nova_locks import guards_of
from tests.unit.imagecache.nova_locks import is_free
from tests.unit.imagecache.nova_locks import lock_file
from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import STRANGER
from tests.unit.imagecache.parts import owner_of
from tmpl_glance_store import exceptions
from tmpl_glance_store.imagecache import locks

root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can change owners'
)


def test_a_lock_keeps_other_processes_out(tmp_path):
    with guards_of(tmp_path).held(NAME) as ours:
        assert ours
        assert not is_free(tmp_path)
    assert is_free(tmp_path)


def test_a_lock_that_nova_holds_is_not_waited_for(tmp_path):
    own = guards_of(tmp_path)
    with own.held(NAME):
        pass
    with subprocess.Popen(
        [
            sys.executable,
            '-c',
            (
                'import fcntl, sys\nfile = open(sys.argv[1], "a")\n'
                'fcntl.lockf(file, fcntl.LOCK_EX)\nprint(flush=True)\n'
                'sys.stdin.read()'
            ),
            lock_file(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as nova:
        nova.stdout.readline()
        with own.held(NAME) as ours:
            assert not ours
        assert not own.guard(NAME)
        nova.stdin.close()
    with own.held(NAME) as ours:
        assert ours


def test_what_a_crash_left_beside_the_locks_is_cleaned(tmp_path):
    own = locks.Locks(str(tmp_path), owner_of(tmp_path))
    own.clean()  # there is not even a directory
    with guards_of(tmp_path).held(NAME):
        (tmp_path / 'locks' / '.tmpl-x').touch()
    own.clean()
    assert [each.name for each in (tmp_path / 'locks').iterdir()] == [
        lock_file(tmp_path).name
    ]


def test_a_lock_file_that_was_removed_is_not_believed(tmp_path, monkeypatch):
    own = guards_of(tmp_path)
    acquire = locks.lockutils.InterProcessLock.acquire
    removed = []

    def remove_once(self, *args, **kwargs):
        taken = acquire(self, *args, **kwargs)
        if not removed:  # as Nova's cache manager does
            removed.append(os.unlink(self.path))
        return taken

    monkeypatch.setattr(
        locks.lockutils.InterProcessLock, 'acquire', remove_once
    )
    with own.held(NAME) as ours:
        assert ours
        assert not is_free(tmp_path)


@root_only
def test_a_lock_file_is_novas_from_the_beginning(tmp_path):
    os.chown(tmp_path, STRANGER, STRANGER)
    with guards_of(tmp_path).held(NAME):
        pass
    for path in lock_file(tmp_path), lock_file(tmp_path).parent:
        assert (path.stat().st_uid, path.stat().st_gid) == (STRANGER, STRANGER)
    assert stat.S_IMODE(lock_file(tmp_path).stat().st_mode) == 0o664
    assert [each.name for each in lock_file(tmp_path).parent.iterdir()] == [
        lock_file(tmp_path).name
    ]


@root_only
def test_a_lock_file_that_nova_could_not_open_is_mended(tmp_path):
    os.chown(tmp_path, STRANGER, STRANGER)
    lock_file(tmp_path).parent.mkdir()
    lock_file(tmp_path).touch(0o644)  # by root: Nova's boot would be ERROR
    with guards_of(tmp_path).held(NAME):
        pass
    found = lock_file(tmp_path).stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (STRANGER, 0o664)


@root_only
@pytest.mark.parametrize('make', [os.symlink, os.link])
def test_a_lock_file_is_not_the_way_to_another_file(tmp_path, make):
    os.chown(tmp_path, STRANGER, STRANGER)
    secret = tmp_path / 'secret'
    secret.touch(0o600)
    lock_file(tmp_path).parent.mkdir()
    make(secret, lock_file(tmp_path))
    with (
        pytest.raises(exceptions.WriteDenied, match='lock'),
        guards_of(tmp_path).held(NAME),
    ):
        pass
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (0, 0o600)


def test_a_lock_file_that_is_none_makes_nobody_wait(tmp_path):
    lock_file(tmp_path).parent.mkdir()
    os.mkfifo(lock_file(tmp_path))
    with (
        pytest.raises(exceptions.WriteDenied, match='remove it'),
        guards_of(tmp_path).held(NAME),
    ):
        pass


@root_only
def test_a_directory_is_not_the_way_to_somebody_elses(tmp_path):
    os.chown(tmp_path, STRANGER, STRANGER)
    elsewhere = tmp_path / 'etc'
    elsewhere.mkdir()
    (tmp_path / 'locks').symlink_to(elsewhere)
    os.chown(tmp_path / 'locks', STRANGER, STRANGER, follow_symlinks=False)
    with (
        pytest.raises(exceptions.WriteDenied, match='is a link'),
        guards_of(tmp_path).held(NAME),
    ):
        pass
    assert not list(elsewhere.iterdir())
    os.chown(elsewhere, STRANGER, STRANGER)
    with guards_of(tmp_path).held(NAME) as ours:
        assert ours
    os.chown(elsewhere, 0, 0)  # and it may be where root says
    os.chown(tmp_path / 'locks', 0, 0, follow_symlinks=False)
    with guards_of(tmp_path).held(NAME) as ours:
        assert ours


def test_without_the_directory_there_are_no_locks(tmp_path):
    with (
        pytest.raises(exceptions.WriteDenied, match='lock'),
        guards_of(tmp_path / 'gone', user=0, group=0).held(NAME),
    ):
        pass
