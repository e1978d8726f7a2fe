# SPDX-License-Identifier: Apache-2.0
"""Whether anything can be published on this node."""

import os
import types

import pytest

from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import entry
from tests.unit.imagecache.parts import owner_of
from tmpl_glance_store.imagecache import readiness


@pytest.fixture
def cleaned():
    return []


@pytest.fixture
def ready(tmp_path, cleaned):
    return readiness.Readiness(
        str(tmp_path),
        str(tmp_path / '_base'),
        owner_of(tmp_path),
        clean=[lambda: cleaned.append('a'), lambda: cleaned.append('b')],
    )


def test_the_directory_of_base_files_is_made_and_cleaned_once(
    tmp_path, ready, cleaned
):
    for _ in range(2):
        assert ready.problem([]) is None
    assert (tmp_path / '_base').is_dir()
    assert cleaned == ['a', 'b']


def test_novas_own_directory_is_not_made(tmp_path):
    gone = readiness.Readiness(
        str(tmp_path / 'gone'), str(tmp_path / 'gone/_base'), None, clean=()
    )
    assert 'is nova-compute installed here?' in gone.problem([])


def test_what_is_not_mounted_hides_what_is_known(tmp_path, ready, cleaned):
    (tmp_path / NAME).touch()
    known = entry(tmp_path / NAME, mount=f'{tmp_path}/_base')
    assert 'is not mounted' in ready.problem([known])
    assert not (tmp_path / '_base').exists()
    assert cleaned == []


def test_a_read_only_cache_is_a_problem(ready, monkeypatch, cleaned):
    monkeypatch.setattr(
        os, 'statvfs', lambda path: types.SimpleNamespace(f_flag=os.ST_RDONLY)
    )
    assert 'read-only' in ready.problem([])
    assert cleaned == []


def test_what_cannot_be_made_is_a_problem(tmp_path, ready, monkeypatch):
    def full(path):
        raise OSError(28, 'full')

    monkeypatch.setattr(os, 'mkdir', full)
    assert ready.problem([]) == f'{tmp_path}/_base: [Errno 28] full'
