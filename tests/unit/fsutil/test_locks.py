# SPDX-License-Identifier: Apache-2.0
"""Locks on directories."""

import fcntl
import os

import pytest

from tmpl_glance_store import fsutil


def test_an_exclusive_lock_keeps_others_out(directory):
    with fsutil.lock_directory(str(directory)):
        assert fsutil.lock_directory(str(directory)) is None
        assert fsutil.lock_directory(str(directory), exclusive=False) is None
        assert fsutil.lock_directory(str(directory), wait=0.05) is None
    fsutil.lock_directory(str(directory)).release()


def test_shared_locks_get_along_and_keep_an_exclusive_one_out(directory):
    first = fsutil.lock_directory(str(directory), exclusive=False)
    second = fsutil.lock_directory(str(directory), exclusive=False)
    first.release()
    assert fsutil.lock_directory(str(directory)) is None
    second.release()
    fsutil.lock_directory(str(directory)).release()


def test_releasing_a_lock_twice_does_nothing_to_other_files(directory):
    lock = fsutil.lock_directory(str(directory))
    lock.release()
    with open(directory / 'f', 'w') as file:  # gets the lock's descriptor
        lock.release()
        file.write('x')


def test_a_lock_is_given_back_whatever_happens(directory):
    with (
        pytest.raises(ZeroDivisionError),
        fsutil.lock_directory(str(directory)),
    ):
        raise ZeroDivisionError
    fsutil.lock_directory(str(directory)).release()


def test_a_lock_goes_with_its_process(directory):
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        lock = fsutil.lock_directory(str(directory))
        os.write(ready[1], b'%d' % (lock is not None))
        os.read(done[0], 1)
        os._exit(0)
    try:
        assert os.read(ready[0], 1) == b'1'
        assert fsutil.lock_directory(str(directory)) is None
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        for fd in (*ready, *done):
            os.close(fd)
    fsutil.lock_directory(str(directory)).release()


def test_what_is_not_there_cannot_be_locked(directory):
    with pytest.raises(FileNotFoundError):
        fsutil.lock_directory(f'{directory}/x')
    (directory / 'file').touch()
    with pytest.raises(NotADirectoryError):
        fsutil.lock_directory(f'{directory}/file')


@pytest.fixture
def before_flock(monkeypatch):
    """Let something happen before the n-th attempt to lock."""
    real, actions = fcntl.flock, {}

    def flock(*args):
        actions.setdefault('count', 0)
        actions['count'] += 1
        actions.pop(actions['count'], lambda: None)()
        real(*args)

    monkeypatch.setattr(fcntl, 'flock', flock)
    return actions


def test_who_waits_gets_the_lock_when_it_is_free(directory, before_flock):
    first = fsutil.lock_directory(str(directory))
    before_flock[4] = first.release
    second = fsutil.lock_directory(str(directory), wait=60)
    assert before_flock['count'] == 4
    assert fsutil.lock_directory(str(directory)) is None
    second.release()


def test_a_directory_that_goes_while_waiting_is_not_there(
    directory, before_flock
):
    first = fsutil.lock_directory(str(directory))
    before_flock[3] = directory.rmdir
    with pytest.raises(FileNotFoundError):
        fsutil.lock_directory(str(directory), wait=60)
    first.release()


def test_a_directory_that_goes_while_it_is_locked_is_not_there(
    directory, before_flock
):
    before_flock[1] = directory.rmdir
    with pytest.raises(FileNotFoundError):
        fsutil.lock_directory(str(directory))


def test_the_directory_that_has_the_name_is_the_one_that_gets_locked(
    directory, before_flock
):
    def replace():
        directory.rename(directory.with_name('old'))
        directory.mkdir()

    before_flock[1] = replace
    lock = fsutil.lock_directory(str(directory))
    assert before_flock['count'] == 2
    assert fsutil.lock_directory(str(directory)) is None
    fsutil.lock_directory(f'{directory.parent}/old').release()
    lock.release()
