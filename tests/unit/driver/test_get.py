# SPDX-License-Identifier: Apache-2.0
"""Images are read and deleted, as Glance does it."""

import pathlib

import pytest
from glance_store import exceptions

from harness import host as hosts
from harness.host import Host
from harness.host import at
from harness.host import download
from tests.conftest import Forbid
from tests.unit.driver.glance import DATA
from tests.unit.driver.glance import open_files
from tests.unit.driver.glance import upload
from tmpl_glance_store import driver

SPAN = 100_000


@pytest.mark.parametrize(
    ('offset', 'length'),
    [
        (0, None),
        (1, None),
        (SPAN - 1, None),
        (SPAN, None),
        (SPAN + 1, None),
        (0, 1),
        (0, SPAN),
        (0, SPAN + 1),
        (12345, 6789),
        (SPAN - 1, 1),
        (SPAN - 1, 100),
        (SPAN, 1),
        (SPAN + 1, 1),
        (1 << 40, 1),
    ],
)
def test_any_range_is_what_the_slice_is(
    store: driver.Store, offset: int, length: int | None
) -> None:
    data = hosts.content(SPAN)
    url = upload(store, data)
    chunks, size = store.get(at(store, url), offset=offset, chunk_size=length)
    assert b''.join(chunks) == data[offset:][:length]
    assert size == length or SPAN


def test_the_offset_and_the_length_may_be_given_by_position(
    store: driver.Store,
) -> None:
    chunks, _ = store.get(at(store, upload(store)), 5, 10)
    assert b''.join(chunks) == DATA[5:15]


def test_chunks_are_of_bounded_size(tmp_path: pathlib.Path) -> None:
    for chunk_size, expected in ((1000, 1000), (16 << 20, 256 << 10)):
        store = Host(tmp_path, tmpl_store_chunk_size=chunk_size).store()
        url = upload(store)
        sizes = [len(chunk) for chunk in store.get(at(store, url))[0]]
        assert set(sizes[:-1]) == {expected}
        assert sum(sizes) == len(DATA)


def test_the_size_is_asked_without_reading(
    host: Host, store: driver.Store
) -> None:
    url = upload(store)
    host.copies()[0].rename(host.root / 'elsewhere')
    assert store.get_size(at(store, url)) == len(DATA)


def test_a_download_goes_on_after_the_image_is_deleted(
    host: Host, store: driver.Store
) -> None:
    url = upload(store)
    chunks = iter(store.get(at(store, url))[0])
    data = next(chunks)
    store.delete(at(store, url))
    assert host.is_clean()
    assert data + b''.join(chunks) == DATA


def test_the_file_is_closed_at_the_end_or_when_the_reader_goes(
    host: Host, store: driver.Store
) -> None:
    url = upload(store)
    reads, _ = store.get(at(store, url))
    assert len(open_files(host.root)) == 1
    assert b''.join(reads) == DATA
    assert open_files(host.root) == []
    for stop in (lambda reads: reads.close(), lambda reads: None):
        reads, _ = store.get(at(store, url))
        next(iter(reads))
        stop(reads)
        del reads
        assert open_files(host.root) == []


def test_a_deleted_image_is_gone(host: Host, store: driver.Store) -> None:
    url = upload(store)
    store.delete(at(store, url))
    assert host.is_clean()
    for call in (store.get, store.get_size, store.delete):
        with pytest.raises(exceptions.NotFound):
            call(at(store, url))


def test_a_deleted_image_can_be_uploaded_again_with_another_url(
    store: driver.Store,
) -> None:
    image_id = hosts.new_id()
    old = upload(store, DATA, image_id)
    store.delete(at(store, old))
    new = upload(store, DATA, image_id)
    assert new != old
    assert download(store, new) == DATA
    with pytest.raises(exceptions.NotFound):
        store.get(at(store, old))


@pytest.mark.parametrize('where', ['incoming', 'templates/??'])
def test_what_the_directory_denies_is_forbidden_and_stays(
    host: Host, store: driver.Store, forbid: Forbid, where: str
) -> None:
    url = upload(store)
    location = host.copies()[0].parents[2]
    (directory,) = location.glob(where)
    forbid(directory)
    with pytest.raises(exceptions.Forbidden):
        store.delete(at(store, url))
    assert download(store, url) == DATA
    forbid.lift()
    assert host.disagreements() == []
    store.delete(at(store, url))
    assert host.is_clean()
