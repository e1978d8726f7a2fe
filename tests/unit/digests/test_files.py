# SPDX-License-Identifier: Apache-2.0
"""The digest of a file, holes or not."""

import random

import pytest

from tests.unit.digests.support import MIB
from tests.unit.digests.support import Boom
from tests.unit.digests.support import digest
from tests.unit.digests.support import ingest
from tests.unit.digests.support import same_root
from tmpl_glance_store import digests


@pytest.mark.parametrize(
    'parts',
    [
        [],
        [('hole', 0)],
        [('hole', 3 * MIB)],
        [('data', MIB + 1)],
        [('hole', MIB), ('data', 5000), ('hole', 2 * MIB + 7)],
        [('data', 100), ('hole', 700_000), ('data', 2 * MIB)],
    ],
)
def test_a_file_has_the_digest_of_its_bytes_holes_or_not(tmp_path, parts):
    path, read = tmp_path / 'file', []
    with path.open('w+b') as file:
        for kind, length in parts:
            if kind == 'data':
                file.write(random.Random(length).randbytes(length))
            else:
                file.seek(length, 1)
        file.truncate(file.tell())
        file.flush()
        found = digests.digest_of(file.fileno(), read.append)
    data = path.read_bytes()
    assert found == ingest([data]).digest == digest(data)
    assert sum(read) <= len(data)


def test_two_files_with_one_root_have_two_digests(tmp_path):
    found = []
    for data in same_root():
        (tmp_path / 'file').write_bytes(data)
        with (tmp_path / 'file').open('rb') as file:
            found.append(digests.digest_of(file.fileno()))
    assert found == [digest(data) for data in same_root()]
    assert found[0] != found[1]


def test_holes_are_not_read(tmp_path):
    read = []
    with (tmp_path / 'file').open('w+b') as file:
        file.truncate(64 * MIB)
        file.seek(32 * MIB)
        file.write(b'data')
        file.flush()
        digests.digest_of(file.fileno(), read.append)
    if sum(read) == 64 * MIB:
        pytest.skip('this file system has no holes')
    assert sum(read) < MIB


def test_what_a_reader_raises_ends_the_reading(tmp_path):
    def stop(_):
        raise Boom

    (tmp_path / 'file').write_bytes(bytes(3 * MIB))
    with (tmp_path / 'file').open('rb') as file, pytest.raises(Boom):
        digests.digest_of(file.fileno(), stop)
