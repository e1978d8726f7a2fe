# SPDX-License-Identifier: Apache-2.0
"""What is to be proved again beside the copies."""

import os

import pytest

from harness.host import digest_of
from tests.unit.imagecache.parts import DIGEST
from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import entry
from tests.unit.imagecache.parts import ledger_of
from tmpl_glance_store import layout
from tmpl_glance_store.disk_images import derived
from tmpl_glance_store.imagecache import proofs


@pytest.fixture
def book(tmp_path):
    (tmp_path / NAME).write_bytes(b'x')
    return ledger_of(tmp_path)


@pytest.fixture
def copy(tmp_path):
    made = layout.CopyPaths(layout.Paths(str(tmp_path)).copy(DIGEST))
    os.makedirs(made.directory)
    return made


def due(tmp_path, book, judge=print):
    return list(proofs.due({str(tmp_path): book}, 100.0, judge))


@pytest.mark.parametrize(
    ('fields', 'expected'),
    [
        ({}, True),
        ({'verified_at': 99.0}, True),
        ({'verified_at': 100.0}, False),
        ({'damaged': True}, False),
        ({'inode': 1}, False),  # it is not ours any more
    ],
)
def test_a_base_file_is_proved_when_it_is_due(
    tmp_path, book, fields, expected
):
    book.write(entry(tmp_path / NAME, **fields))
    paths = [each.path for each in due(tmp_path, book)]
    assert paths == ([str(tmp_path / NAME)] if expected else [])


def test_the_judgement_is_told_with_its_entry(tmp_path, book):
    known = entry(tmp_path / NAME)
    book.write(known)
    told = []
    (proof,) = due(
        tmp_path, book, judge=lambda *judgement: told.append(judgement)
    )
    proof.tell(False)
    assert told == [(book, known, False)]


@pytest.mark.parametrize('name', [layout.IMAGE, layout.BASE])
def test_another_name_of_the_copy_is_proved_as_that(
    tmp_path, book, copy, name
):
    os.link(tmp_path / NAME, os.path.join(copy.directory, name))
    book.write(entry(tmp_path / NAME))
    assert due(tmp_path, book) == []


def test_a_disk_that_does_not_answer_is_asked_later(
    tmp_path, book, monkeypatch
):
    def broken(path):
        raise OSError(5, 'the disk')

    book.write(entry(tmp_path / NAME))
    monkeypatch.setattr(os, 'lstat', broken)
    assert due(tmp_path, book) == []


@pytest.mark.parametrize('good', [True, False])
def test_a_conversion_is_proved_too(tmp_path, book, copy, good):
    book.write(entry(tmp_path / NAME, verified_at=100.0))
    with open(copy.base, 'wb') as file:
        file.write(b'raw')
    made = derived.Derived(DIGEST, digest_of(b'raw'), 3, 1.0)
    derived.record(copy, made)
    (proof,) = due(tmp_path, book)
    assert (proof.path, proof.digest) == (copy.base, made.digest)
    proof.tell(good)
    found = derived.find(copy)
    assert (found is not None) == good
    assert due(tmp_path, book) == []
