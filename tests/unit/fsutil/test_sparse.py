# SPDX-License-Identifier: Apache-2.0
"""Sparse files."""

import errno
import itertools
import os

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.fsutil.support import KIB
from tests.unit.fsutil.support import MIB
from tests.unit.fsutil.support import SETTINGS
from tests.unit.fsutil.support import data_bytes
from tests.unit.fsutil.support import failing
from tests.unit.fsutil.support import mode_of
from tests.unit.fsutil.support import open_files
from tests.unit.fsutil.support import written
from tmpl_glance_store import fsutil

# Runs of zeros and of data around the size of a hole, which is small here.
runs = st.lists(
    st.tuples(
        st.sampled_from([b'\0', b'x']),
        st.one_of(st.integers(0, 300), st.sampled_from([64, 128, 192, 4096])),
    ),
    max_size=12,
).map(lambda found: b''.join(b * n for b, n in found))


@SETTINGS
@hypothesis.given(runs, st.lists(st.integers(0, 3000)))
def test_a_sparse_file_has_the_bytes_of_the_stream(tmp_path, data, cuts):
    path, edges = tmp_path / 'f', [0, *sorted(cuts), len(data)]
    path.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fsutil, 'HOLE', 64)
        patch.setattr(fsutil, '_ZEROS', bytes(64))
        assert (
            written(path, [data[a:b] for a, b in itertools.pairwise(edges)])
            == data
        )


@pytest.mark.parametrize(
    ('chunks', 'most'),
    [
        ([bytes(4 * MIB)], 0),
        ([bytes(MIB)] * 4, 0),
        ([b'x' * 64 * KIB + bytes(MIB) + b'x' * 64 * KIB], 128 * KIB),
        ([b'x' + bytes(MIB - 1), bytes(MIB)], 64 * KIB),
        ([bytes(MIB), bytes(MIB - 1) + b'x'], 64 * KIB),
        ([b'xyz' + bytes(MIB), bytes(MIB) + b'x'], 192 * KIB),
    ],
)
def test_long_runs_of_zeros_become_holes(tmp_path, chunks, most):
    assert written(tmp_path / 'f', chunks) == b''.join(chunks)
    assert data_bytes(tmp_path / 'f') <= most
    assert os.stat(tmp_path / 'f').st_blocks * 512 <= most + 16 * KIB


def test_a_sparse_file_is_complete_before_it_is_synced(tmp_path, calls):
    written(tmp_path / 'f', [b'x', bytes(MIB)], 0o640)
    assert calls == [
        ('ftruncate', 'f', MIB + 1),
        ('fchmod', 'f', 0o640),
        ('fsync', 'f', MIB + 1),
    ]
    assert mode_of(tmp_path / 'f') == 0o640


def test_an_empty_sparse_file_can_be_finished(tmp_path):
    assert written(tmp_path / 'f', []) == b''
    assert mode_of(tmp_path / 'f') == 0o444


def test_a_file_in_the_making_is_its_owners_alone(tmp_path):
    writer = fsutil.SparseWriter(str(tmp_path / 'f'))
    assert mode_of(tmp_path / 'f') == 0o600
    del writer


def test_a_sparse_file_is_always_a_new_one(tmp_path):
    (tmp_path / 'f').write_bytes(b'old')
    with pytest.raises(FileExistsError):
        fsutil.SparseWriter(str(tmp_path / 'f'))
    assert (tmp_path / 'f').read_bytes() == b'old'


def test_a_short_write_is_continued(monkeypatch, tmp_path):
    pwrite = os.pwrite
    monkeypatch.setattr(
        os, 'pwrite', lambda fd, data, at: pwrite(fd, data[:7], at)
    )
    data = os.urandom(100)
    assert written(tmp_path / 'f', [data[:33], data[33:]]) == data


def test_a_write_that_fails_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(os, 'pwrite', failing(errno.ENOSPC))
    writer = fsutil.SparseWriter(str(tmp_path / 'f'))
    with pytest.raises(OSError, match='space'):
        writer.write(b'x')


def test_an_unfinished_file_is_closed_when_nobody_needs_it(tmp_path):
    before = open_files()
    writer = fsutil.SparseWriter(str(tmp_path / 'f'))
    writer.write(b'x')
    assert open_files() == before + 1
    del writer
    assert open_files() == before


@pytest.mark.parametrize('length', [0, 1, 5, 100])
def test_the_head_of_what_was_written_can_be_read(tmp_path, length):
    writer = fsutil.SparseWriter(str(tmp_path / 'f'))
    assert writer.head(length) == b''
    writer.write(b'abc')
    writer.write(bytes(MIB))
    assert writer.head(length) == (b'abc' + bytes(97))[:length]
