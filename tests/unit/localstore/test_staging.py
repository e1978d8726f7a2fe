# SPDX-License-Identifier: Apache-2.0
"""A template on its way into a location."""

import dataclasses
import errno
import json
import os
import pathlib

import pytest

from harness import host as hosts
from harness.host import Host
from tests.unit.localstore.copies import DATA
from tests.unit.localstore.copies import attach
from tests.unit.localstore.copies import facts
from tests.unit.localstore.copies import lock_is_free
from tests.unit.localstore.copies import place
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import schema
from tmpl_glance_store.localstore import copy as copy_files
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging


def test_a_copy_appears_whole_and_described(
    location: local.LocalLocation,
) -> None:
    template, pieces = facts(DATA)
    with location.stage() as staged:
        for start in range(0, len(DATA), 100_000):
            staged.write(DATA[start : start + 100_000])
        staged.seal(template, pieces)
        assert not location.holds(template.digest)
        assert staged.place(template.digest)
        assert location.holds(template.digest)
    copy = pathlib.Path(location.paths.copy(template.digest))
    assert sorted(path.name for path in copy.iterdir()) == [
        'image',
        'pieces',
        'template.json',
    ]
    assert (copy / 'image').read_bytes() == DATA
    assert (copy / 'pieces').read_bytes() == pieces
    assert json.loads((copy / 'template.json').read_bytes()) == {
        'version': schema.VERSION,
        **dataclasses.asdict(template),
    }
    assert copy_files.read(str(copy)) == template
    assert not os.listdir(location.paths.incoming)
    assert lock_is_free(copy)


def test_what_is_not_placed_goes(location: local.LocalLocation) -> None:
    with pytest.raises(KeyError), location.stage() as staged:
        staged.write(DATA)
        assert os.listdir(location.paths.incoming)
        raise KeyError
    assert not os.listdir(location.paths.incoming)


def test_the_second_to_place_a_copy_is_told_so(
    location: local.LocalLocation,
) -> None:
    template, pieces = facts(DATA)
    with location.stage() as late:
        late.write(DATA)
        late.seal(template, pieces)
        before = place(location).stat()
        assert not late.place(template.digest)
    copy = pathlib.Path(location.paths.copy(template.digest))
    assert os.path.samestat(copy.stat(), before)
    assert not os.listdir(location.paths.incoming)


def test_a_shelf_removed_at_the_last_moment_is_made_again(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, _ = facts(DATA)
    sync = fsutil.fsync_directory

    def fsync_directory(path: str) -> None:
        sync(path)
        if path == location.paths.templates:
            monkeypatch.undo()
            os.rmdir(location.paths.shelf(template.digest))

    monkeypatch.setattr(fsutil, 'fsync_directory', fsync_directory)
    place(location)
    assert location.holds(template.digest)


def test_a_shelf_removed_while_it_is_made_is_made_again(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, _ = facts(DATA)
    mkdir = os.mkdir

    def mkdir_early(path: str, *args: int) -> None:
        mkdir(path, *args)
        if path == location.paths.shelf(template.digest):
            monkeypatch.undo()
            staging.remove_if_empty(path)  # as who withdraws a copy does

    monkeypatch.setattr(os, 'mkdir', mkdir_early)
    place(location)
    assert location.holds(template.digest)


def test_a_directory_taken_for_debris_before_it_is_locked_is_made_again(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fsutil.lock_directory

    def lock_directory(path: str) -> fsutil.DirectoryLock | None:
        monkeypatch.undo()
        assert location.clean_incoming() == 1  # as another process's start
        return lock(path)

    monkeypatch.setattr(fsutil, 'lock_directory', lock_directory)
    place(location)


def test_a_directory_taken_for_debris_while_it_is_made_is_made_again(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def mkdir_early(path: str, *args: int) -> None:
        monkeypatch.undo()
        mkdir(path, *args)
        assert location.clean_incoming() == 1  # as another process's start

    monkeypatch.setattr(os, 'mkdir', mkdir_early)
    place(location)


def move(
    source: local.LocalLocation, target: local.LocalLocation
) -> pathlib.Path:
    """Place DATA in *target* although it was written in *source*."""
    template, pieces = facts(DATA)
    with source.stage() as staged, target.stage() as moved:
        staged.write(DATA)
        staged.seal(template, pieces)
        moved.copy_from(staged.directory, template.digest)
        assert moved.place(template.digest)
    assert not os.listdir(source.paths.incoming)
    return pathlib.Path(target.paths.copy(template.digest))


@pytest.fixture
def two(
    tmp_path: pathlib.Path,
) -> tuple[local.LocalLocation, local.LocalLocation]:
    return attach(Host(tmp_path, 'ssd:a')), attach(Host(tmp_path, 'ssd:b'))


def test_a_copy_moves_to_another_location(
    two: tuple[local.LocalLocation, local.LocalLocation],
) -> None:
    copy = move(*two)
    assert hosts.what_is_wrong(copy) is None
    assert {oct(path.stat().st_mode & 0o777) for path in copy.iterdir()} == {
        '0o444'
    }


def test_a_moved_copy_that_came_out_wrong_is_not_placed(
    two: tuple[local.LocalLocation, local.LocalLocation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def copy_file(source: int, target: int) -> bool:
        os.pwrite(target, DATA[:-1] + bytes([DATA[-1] ^ 1]), 0)
        return False

    monkeypatch.setattr(fsutil, 'copy_file', copy_file)
    with pytest.raises(exceptions.CorruptCopy):
        move(*two)
    assert not os.listdir(two[1].paths.incoming)
    assert not os.listdir(two[1].paths.templates)


def test_the_move_within_a_file_system_is_a_rename(
    two: tuple[local.LocalLocation, local.LocalLocation],
) -> None:
    source, target = two
    with source.stage() as staged:
        staged.write(DATA)
        before = os.stat(staged.directory)
        assert staged.move_by_rename(target.paths)
        assert staged.paths is target.paths
        assert os.path.samestat(os.stat(staged.directory), before)
        assert not os.listdir(source.paths.incoming)
        assert not lock_is_free(pathlib.Path(staged.directory))
    assert not os.listdir(target.paths.incoming)


def test_a_rename_across_file_systems_is_left_to_the_caller(
    two: tuple[local.LocalLocation, local.LocalLocation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rename(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, 'another file system')

    with two[0].stage() as staged:
        monkeypatch.setattr(os, 'rename', rename)
        assert not staged.move_by_rename(two[1].paths)
        assert staged.paths is two[0].paths
