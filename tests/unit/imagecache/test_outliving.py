# SPDX-License-Identifier: Apache-2.0
"""Base files that were made here once."""

import pytest

from tests.unit.imagecache.parts import Clock
from tests.unit.imagecache.parts import entry
from tmpl_glance_store import fsutil
from tmpl_glance_store.imagecache import books
from tmpl_glance_store.imagecache import decision
from tmpl_glance_store.imagecache import facts
from tmpl_glance_store.imagecache import ledger
from tmpl_glance_store.imagecache import outliving
from tmpl_glance_store.imagecache import states

NAMES = ['a' * 40, 'b' * 40]


@pytest.fixture
def cache(tmp_path):
    (tmp_path / 'location').mkdir()
    (tmp_path / '_base').mkdir()
    return tmp_path / '_base'


@pytest.fixture
def opened(tmp_path, cache):
    made = books.Books(str(cache))
    made.open([str(tmp_path / 'location')])
    book = made.of(str(tmp_path / 'location'))
    for name in NAMES:
        (cache / name).write_bytes(b'x')
        book.write(
            entry(
                cache / name,
                image_id=name[0],
                mount=fsutil.mount_point(str(cache)),
            )
        )
    return made


@pytest.fixture
def back(cache, opened):
    return outliving.Outliving(
        str(cache), rules=decision.Rules(), books=opened, clock=Clock()
    )


def test_what_is_there_is_left_and_what_is_gone_forgotten(cache, opened, back):
    (cache / NAMES[0]).unlink()
    left = back.look_back({}, {})
    assert {image: each.state for image, each in left.items()} == {
        'b': states.LEFT
    }
    assert opened.find(NAMES[0]) is None


def test_one_broken_file_stops_no_other(
    cache, opened, back, monkeypatch, caplog
):
    look = facts.look

    def broken(path, known=None):
        if path.endswith(NAMES[0]):
            raise OSError(5, 'the disk')
        return look(path, known)

    monkeypatch.setattr(facts, 'look', broken)
    for _ in range(2):
        assert back.look_back({}, {}).keys() == {'b'}
    assert opened.find(NAMES[0]) is not None
    assert caplog.text.count('is not looked at') == 1


def test_holds_that_cannot_be_removed_stay(back, monkeypatch, caplog):
    def broken(self):
        raise OSError(30, 'read-only')

    monkeypatch.setattr(ledger.Ledger, 'drop_holds', broken)
    assert back.look_back({}, {}).keys() == {'a', 'b'}
    assert 'what links hold stays' in caplog.text
