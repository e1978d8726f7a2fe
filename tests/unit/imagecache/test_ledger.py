# SPDX-License-Identifier: Apache-2.0
"""The base files that were made from one location."""

import pathlib

import pytest

from tests.unit.imagecache.parts import DIGEST
from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import entry
from tests.unit.imagecache.parts import ledger_of
from tmpl_glance_store import exceptions
from tmpl_glance_store import layout
from tmpl_glance_store.imagecache import ledger


def test_what_is_written_is_read_again(tmp_path):
    (tmp_path / NAME).write_bytes(b'x')
    written = entry(tmp_path / NAME)
    ledger_of(tmp_path).write(written)
    book = ledger_of(tmp_path)
    assert book.entries == {NAME: written}
    book.remove(book.entries[NAME])
    assert ledger_of(tmp_path).all() == []


def test_one_name_may_be_in_two_image_caches(tmp_path):
    caches = tmp_path / 'a', tmp_path / 'b'
    for cache in caches:
        cache.mkdir()
        (cache / NAME).write_bytes(b'x')
        ledger_of(tmp_path, cache).write(entry(cache / NAME))
    book = ledger_of(tmp_path, caches[0])
    assert book.entries[NAME].directory == str(caches[0])
    (other,) = book.elsewhere.values()
    assert other.directory == str(caches[1])
    book.remove(other)
    assert ledger_of(tmp_path, caches[1]).entries == {}
    assert ledger_of(tmp_path, caches[0]).entries == book.entries


@pytest.mark.parametrize(
    'text', ['', '{"name": ', '[]', '{"name": 5, "image_id": null}']
)
def test_what_an_unreadable_entry_may_hold_is_kept(tmp_path, text):
    (tmp_path / 'image').write_bytes(b'x')
    hold = pathlib.Path(
        ledger_of(tmp_path).hold(str(tmp_path / 'image'), DIGEST)
    )
    (tmp_path / layout.PUBLISHED / f'{NAME}.json').write_text(text)
    (tmp_path / layout.PUBLISHED / '.left').touch()
    book = ledger_of(tmp_path)
    assert book.all() == []
    book.drop_holds()
    assert hold.exists()
    assert not (tmp_path / layout.PUBLISHED / '.left').exists()


def test_a_hold_outlives_the_copy_and_goes_with_the_last_link(tmp_path):
    (tmp_path / 'image').write_bytes(b'x')
    book = ledger_of(tmp_path)
    hold = pathlib.Path(book.hold(str(tmp_path / 'image'), DIGEST))
    assert book.hold(str(tmp_path / 'image'), DIGEST) == str(hold)
    (tmp_path / 'image').unlink()
    link = tmp_path / NAME
    link.symlink_to(hold)
    book.write(entry(link, target=str(hold)))
    book.drop_holds()
    assert link.read_bytes() == b'x'
    book.remove(book.entries[NAME])
    book.drop_holds()
    assert not hold.exists()


def test_a_link_of_ours_is_known_by_where_it_leads(tmp_path):
    (tmp_path / 'image').write_bytes(b'x')
    book = ledger_of(tmp_path)
    (tmp_path / 'ours').symlink_to(book.hold(str(tmp_path / 'image'), DIGEST))
    (tmp_path / 'theirs').symlink_to('/mnt/published/image')
    book.drop_holds()  # as if the disk were gone
    assert not (tmp_path / 'ours').exists()
    assert ledger.held_content(str(tmp_path / 'ours')) == DIGEST
    for other in 'theirs', 'image', 'none':
        assert ledger.held_content(str(tmp_path / other)) is None


def test_a_location_that_cannot_be_written_says_what_to_do(
    tmp_path, monkeypatch
):
    def denied(*args):
        raise PermissionError(13, 'denied')

    (tmp_path / NAME).touch()
    book = ledger_of(tmp_path)
    monkeypatch.setattr(ledger.fsutil, 'write_durably', denied)
    with pytest.raises(exceptions.WriteDenied, match='CAP_DAC_OVERRIDE'):
        book.write(entry(tmp_path / NAME))
    assert book.all() == []
