# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests here."""

import gc
import os
import stat
import types

import pytest

from tests.unit.fsutil.support import MIB
from tests.unit.fsutil.support import Sysfs
from tests.unit.fsutil.support import name_of
from tests.unit.fsutil.support import open_files


@pytest.fixture(autouse=True)
def no_file_is_left_open():
    gc.collect()  # earlier tests may have left some to the collector
    before = open_files()
    yield
    assert open_files() == before


@pytest.fixture
def calls(monkeypatch):
    """The order of what matters to a power loss: ``(call, file, …)``."""
    calls = []

    def record(name, describe):
        real = getattr(os, name)

        def call(*args, **kwargs):
            calls.append((name, *describe(*args)))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    def names(*paths):
        return map(os.path.basename, paths)

    record(
        'fsync',
        lambda fd: (
            name_of(fd),
            os.fstat(fd).st_size
            if stat.S_ISREG(os.fstat(fd).st_mode)
            else 'directory',
        ),
    )
    record('rename', names)
    record('link', names)
    record('ftruncate', lambda fd, size: (name_of(fd), size))
    record('fchmod', lambda fd, mode: (name_of(fd), mode))
    return calls


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / 'directory'
    directory.mkdir()
    return directory


@pytest.fixture
def holey(tmp_path):
    """A file of data, holes and data, and a hole at its end."""
    path = tmp_path / 'source'
    with open(path, 'wb') as file:
        for at, data in (
            (0, b'a' * 5000),
            (MIB, b'b' * 100_000),
            (3 * MIB + 5, b'c'),
        ):
            file.seek(at)
            file.write(data)
        file.truncate(4 * MIB)
        os.fsync(file.fileno())
    return path


@pytest.fixture
def sysfs(tmp_path):
    return Sysfs(tmp_path)


@pytest.fixture
def lies_on(monkeypatch):
    """Let a path lie on a device, or be the node of one."""
    real, answers = os.stat, {}

    def lies_on(path, major, minor, kind=stat.S_IFBLK):
        answers[str(path)] = types.SimpleNamespace(
            st_dev=os.makedev(major, minor),
            st_rdev=os.makedev(major, minor),
            st_mode=kind,
        )

    def fake(path, *args, **kwargs):
        known = isinstance(path, str) and answers.get(path)
        return known or real(path, *args, **kwargs)

    monkeypatch.setattr(os, 'stat', fake)
    return lies_on


@pytest.fixture
def two_disks(sysfs, lies_on):
    """An SSD and a rotating disk, as /dev/ssd and /dev/hdd."""
    for number, name in enumerate(('ssd', 'hdd')):
        sysfs.block(name, f'8:{number}', number)
        lies_on(f'/dev/{name}', 8, number)
    return sysfs
