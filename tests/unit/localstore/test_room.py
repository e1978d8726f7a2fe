# SPDX-License-Identifier: Apache-2.0
"""The room of a location, and its probe."""

import errno
import os
import pathlib

import pytest

from harness.host import Host
from tests.conftest import Forbid
from tests.unit.localstore.copies import attach
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store.localstore import location as local


def test_a_location_under_its_reserve_takes_nothing(
    one_disk: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = attach(one_disk, reserve=10)
    monkeypatch.setattr(fsutil, 'free_bytes', lambda path: (150, 1000))
    assert location.has_room(50)
    assert not location.has_room(51)
    location.stage().__exit__()
    monkeypatch.setattr(fsutil, 'free_bytes', lambda path: (99, 1000))
    with pytest.raises(exceptions.NoSpace, match='tmpl_store_reserve'):
        location.stage()
    assert not os.listdir(location.paths.incoming)


def test_a_location_that_runs_full_meanwhile_ends_the_upload(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with location.stage() as staged:
        staged.write(b'first')
        monkeypatch.setattr(fsutil, 'free_bytes', lambda path: (-1, 1000))
        batch, written = bytes(1 << 20), 0
        with pytest.raises(exceptions.NoSpace):
            while written < 1 << 30:
                staged.write(batch)
                written += len(batch)
    assert written <= 64 << 20


def test_a_disk_that_does_not_answer_has_no_room(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statvfs(path: str) -> None:
        raise OSError(errno.EIO, 'gone')

    monkeypatch.setattr(os, 'statvfs', statvfs)
    assert not location.has_room(0)
    assert location.free() == 0


@pytest.mark.parametrize('error', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_from_a_forbidden_one(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def mkdir(path: str) -> None:
        raise OSError(error, os.strerror(error), path)

    monkeypatch.setattr(os, 'mkdir', mkdir)
    with pytest.raises(exceptions.NoSpace):
        location.stage()


def test_a_forbidden_location_is_told_by_a_probe(
    location: local.LocalLocation, forbid: Forbid
) -> None:
    location.probe()
    forbid(pathlib.Path(location.paths.incoming))
    with pytest.raises(exceptions.WriteDenied):
        location.probe()
    with pytest.raises(exceptions.WriteDenied):
        location.stage()
    forbid.lift()
    location.probe()
    assert not os.listdir(location.paths.incoming)
