# SPDX-License-Identifier: Apache-2.0
"""Streams that are not what they should be."""

import errno
import gc
import io
import os
import pathlib
from collections.abc import Iterator

import pytest
from glance_store import exceptions

from harness import host as hosts
from harness.host import Host
from harness.host import download
from tests.unit.driver.glance import DATA
from tests.unit.driver.glance import open_files
from tests.unit.driver.glance import upload
from tmpl_glance_store import driver


class Rest(io.BytesIO):
    """A stream that knows how far it was read."""

    @property
    def consumed(self) -> int:
        return self.tell()


@pytest.mark.parametrize('size', [1, 1000, 65536])
def test_a_stream_that_is_too_long_is_read_no_further_than_need_be(
    tmp_path: pathlib.Path, size: int
) -> None:
    host = Host(tmp_path, tmpl_store_chunk_size=1000)
    stream = Rest(DATA)
    with pytest.raises(
        exceptions.Invalid, match=f'Size exceeds: expected {size} bytes, got'
    ):
        host.store().add(hosts.new_id(), stream, size, 'sha256')
    assert size < stream.consumed <= size + 1000
    assert host.is_clean()


@pytest.mark.parametrize('missing', [1, 1000, len(DATA)])
def test_a_stream_that_is_too_short_is_refused(
    host: Host, store: driver.Store, missing: int
) -> None:
    got = len(DATA) - missing
    with pytest.raises(
        exceptions.Invalid,
        match=f'Size mismatch: expected {len(DATA)} bytes, got {got} bytes',
    ):
        store.add(hosts.new_id(), io.BytesIO(DATA[:got]), len(DATA), 'sha256')
    assert host.is_clean()


@pytest.mark.parametrize(
    'error',
    [
        OSError('client disconnected'),
        AttributeError(),
        KeyboardInterrupt(),
        GeneratorExit(),
        exceptions.GlanceStoreException('quota'),
    ],
)
@pytest.mark.parametrize('after', [0, 1, 5])
def test_what_the_stream_raises_is_raised_and_nothing_is_left(
    host: Host, store: driver.Store, error: BaseException, after: int
) -> None:
    def stream() -> Iterator[bytes]:
        for _ in range(after):
            yield DATA
        raise error

    image_id = hosts.new_id()
    with pytest.raises(type(error)):
        store.add(image_id, stream(), 0, 'sha256')
    assert host.is_clean()
    assert download(store, upload(store, DATA, image_id)) == DATA


@pytest.mark.parametrize('error', [errno.ENOSPC, errno.EIO])
def test_a_failed_upload_gives_its_room_back_at_once(
    host: Host,
    store: driver.Store,
    monkeypatch: pytest.MonkeyPatch,
    error: int,
) -> None:
    def pwrite(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, 'pwrite', pwrite)
    gc.disable()  # an open file keeps its room although it is deleted
    try:
        with pytest.raises((exceptions.StorageFull, OSError)):
            upload(store)
        assert open_files(host.root) == []
    finally:
        gc.enable()


def test_a_chunk_that_is_no_bytes_leaves_nothing(
    host: Host, store: driver.Store
) -> None:
    with pytest.raises(TypeError):
        store.add(hosts.new_id(), ['text'], 0, 'sha256')
    assert host.is_clean()
