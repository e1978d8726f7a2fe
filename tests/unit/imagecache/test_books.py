# SPDX-License-Identifier: Apache-2.0
"""All ledgers of a node."""

import dataclasses

import pytest

from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import entry
from tmpl_glance_store import fsutil
from tmpl_glance_store.imagecache import books


@pytest.fixture
def cache(tmp_path):
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / NAME).write_bytes(b'x')
    return tmp_path / 'cache'


@pytest.fixture
def roots(tmp_path):
    for name in 'one', 'two':
        (tmp_path / name).mkdir()
    return [str(tmp_path / name) for name in ('one', 'two')]


@pytest.fixture
def opened(cache, roots):
    made = books.Books(str(cache))
    made.open(roots)
    return made


def test_a_base_file_is_found_in_whichever_ledger(opened, cache, roots):
    known = entry(cache / NAME)
    assert opened.find(NAME) is None
    opened.of(roots[1]).write(known)
    assert opened.find(NAME) == known
    assert list(opened.entries()) == [known]


def test_of_a_location_that_has_gone_nothing_is_known(opened, cache, roots):
    opened.of(roots[1]).write(entry(cache / NAME))
    opened.open(roots[:1])
    assert opened.find(NAME) is None
    assert opened.of(roots[1]) is None
    opened.open(roots)
    assert opened.find(NAME) is not None


def test_entries_are_visible_where_their_disk_is(opened, cache, roots):
    mount = fsutil.mount_point(str(cache))
    for name, fields in {
        NAME: {'mount': mount},
        'b' * 40: {'mount': f'{str(cache).rstrip("/")}/deeper'},
        'c' * 40: {'directory': '/gone', 'mount': '/'},
    }.items():
        opened.of(roots[0]).write(
            entry(cache / NAME, **{'name': name, **fields})
        )
    assert [each.name for _, each in opened.visible()] == [NAME]


def test_a_directory_that_goes_meanwhile_is_not_there(
    opened, cache, roots, monkeypatch
):
    def gone(path):
        raise FileNotFoundError(2, 'gone')

    opened.of(roots[0]).write(entry(cache / NAME))
    monkeypatch.setattr(fsutil, 'mount_point', gone)
    assert list(opened.visible()) == []


@pytest.mark.parametrize('good', [True, False])
def test_a_judgement_is_noted(opened, cache, roots, good):
    book = opened.of(roots[0])
    known = entry(cache / NAME)
    book.write(known)
    opened.judge(book, known, good, 7.0)
    assert opened.find(NAME) == dataclasses.replace(
        known, verified_at=7.0, damaged=not good
    )


def test_a_judgement_of_what_was_made_anew_meanwhile_is_not(
    opened, cache, roots
):
    book = opened.of(roots[0])
    known = entry(cache / NAME)
    book.write(dataclasses.replace(known, made_at=2.0))
    opened.judge(book, known, False, 7.0)
    assert not opened.find(NAME).damaged
    book.write(known)
    (cache / NAME).unlink()
    opened.judge(book, known, False, 7.0)
    assert not opened.find(NAME).damaged
