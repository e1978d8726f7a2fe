# SPDX-License-Identifier: Apache-2.0
"""Images are added, as Glance does it."""

import hashlib
import io
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from glance_store import exceptions

from harness import host as hosts
from harness.host import Host
from harness.host import at
from harness.host import download
from tests.unit.driver.glance import DATA
from tests.unit.driver.glance import upload
from tmpl_glance_store import driver


def test_add_returns_what_glance_records(
    host: Host, store: driver.Store
) -> None:
    image_id = hosts.new_id()
    url, size, checksum, multihash, metadata = store.add(
        image_id, io.BytesIO(DATA), len(DATA), 'sha512'
    )
    assert re.fullmatch(
        f'tmpl://test/{image_id}/{hosts.digest_of(DATA)}/[0-9a-f]{{32}}', url
    )
    assert size == len(DATA)
    assert checksum == hashlib.md5(DATA).hexdigest()
    assert multihash == hashlib.sha512(DATA).hexdigest()
    assert metadata == {}
    assert host.disagreements() == []


@pytest.mark.parametrize(
    'algorithm', ['md5', 'sha1', 'sha256', 'sha512', 'sha3_256', 'blake2b']
)
def test_the_multihash_is_by_the_requested_algorithm(
    store: driver.Store, algorithm: str
) -> None:
    _, _, checksum, multihash, _ = store.add(
        hosts.new_id(), io.BytesIO(DATA), len(DATA), algorithm
    )
    assert checksum == hashlib.md5(DATA).hexdigest()
    assert multihash == hashlib.new(algorithm, DATA).hexdigest()


class Verifier:
    """What cursive gives to Glance for an image with a signature."""

    def __init__(self) -> None:
        self.data = b''

    def update(self, data: bytes) -> None:
        self.data += data


FIVE = {
    'positional': lambda add, *call: add(*call, 'sha256'),
    'by name': lambda add, *call: add(*call, hashing_algo='sha256'),
    'as Glance does': lambda add, *call: add(
        *call, 'sha256', context=object(), verifier=Verifier()
    ),
    'all positional': lambda add, *call: add(
        *call, 'sha256', object(), Verifier()
    ),
    'all by name': lambda add, image_id, data, size: add(
        image_id=image_id,
        image_file=data,
        image_size=size,
        hashing_algo='sha256',
        context=None,
        verifier=None,
    ),
}
FOUR = {
    'positional': lambda add, *call: add(*call),
    'as Glance did': lambda add, *call: add(
        *call, context=object(), verifier=Verifier()
    ),
    'context positional': lambda add, *call: add(*call, object()),
    'all by name': lambda add, image_id, data, size: add(
        image_id=image_id, image_file=data, image_size=size
    ),
    'the size by name': lambda add, image_id, data, size: add(
        image_id, data, image_size=size, verifier=Verifier()
    ),
}


@pytest.mark.parametrize('call', FIVE.values(), ids=FIVE)
def test_add_with_an_algorithm_returns_five_values(
    store: driver.Store, call: Callable[..., Any]
) -> None:
    url, size, checksum, multihash, metadata = call(
        store.add, hosts.new_id(), io.BytesIO(DATA), len(DATA)
    )
    assert (size, metadata) == (len(DATA), {})
    assert checksum == hashlib.md5(DATA).hexdigest()
    assert multihash == hashlib.sha256(DATA).hexdigest()
    assert download(store, url) == DATA


@pytest.mark.parametrize('call', FOUR.values(), ids=FOUR)
def test_add_without_an_algorithm_returns_four_values(
    store: driver.Store, call: Callable[..., Any]
) -> None:
    url, size, checksum, metadata = call(
        store.add, hosts.new_id(), io.BytesIO(DATA), len(DATA)
    )
    assert (size, metadata) == (len(DATA), {})
    assert checksum == hashlib.md5(DATA).hexdigest()
    assert download(store, url) == DATA


@pytest.mark.parametrize('size', [0, None, len(DATA)])
@pytest.mark.parametrize(
    'stream',
    [
        io.BytesIO,
        lambda data: iter([data[:7], b'', data[7:]]),
        lambda data: [memoryview(data)],
        lambda data: [bytearray(data)],
    ],
)
def test_the_image_may_come_as_a_file_or_in_chunks_and_without_a_size(
    store: driver.Store, stream: Callable[[bytes], Any], size: int | None
) -> None:
    url, written, *_ = store.add(hosts.new_id(), stream(DATA), size, 'sha256')
    assert written == len(DATA)
    assert download(store, url) == DATA


def test_a_file_is_read_in_chunks_of_the_configured_size(
    tmp_path: pathlib.Path,
) -> None:
    sizes = []

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            sizes.append(size)
            return super().read(size)

    store = Host(tmp_path, tmpl_store_chunk_size=50_000).store()
    store.add(hosts.new_id(), Stream(DATA), len(DATA), 'sha256')
    assert set(sizes) == {50_000}


@pytest.mark.parametrize('size', [0, None])
def test_an_empty_image_is_an_image(
    host: Host, store: driver.Store, size: int | None
) -> None:
    url, written, checksum, *_ = store.add(
        hosts.new_id(), io.BytesIO(b''), size, 'sha256'
    )
    assert (written, checksum) == (0, hashlib.md5(b'').hexdigest())
    assert download(store, url) == b''
    assert store.get_size(at(store, url)) == 0
    assert host.disagreements() == []
    store.delete(at(store, url))
    assert host.is_clean()


@pytest.mark.parametrize('size', [1, 16383, 16384, 16385, 262144, 262145])
def test_images_that_end_on_or_beside_a_border_come_back(
    host: Host, store: driver.Store, size: int
) -> None:
    data = hosts.content(size)
    assert download(store, upload(store, data)) == data
    assert host.disagreements() == []


def test_a_verifier_is_fed_every_byte_in_order(store: driver.Store) -> None:
    verifier = Verifier()
    store.add(
        hosts.new_id(),
        io.BytesIO(DATA),
        len(DATA),
        'sha256',
        verifier=verifier,
    )
    assert verifier.data == DATA


@pytest.mark.parametrize('nth', [1, 2])
def test_what_the_verifier_raises_ends_the_upload(
    host: Host, store: driver.Store, nth: int
) -> None:
    class Untrusted(Exception):
        pass

    class Picky(Verifier):
        calls = 0

        def update(self, data: bytes) -> None:
            self.calls += 1
            if self.calls == nth:
                raise Untrusted

    with pytest.raises(Untrusted):
        store.add(
            hosts.new_id(),
            io.BytesIO(DATA * 2),
            2 * len(DATA),
            'sha256',
            verifier=Picky(),
        )
    assert host.is_clean()


def test_an_image_id_in_upper_case_is_the_same_image(
    host: Host, store: driver.Store
) -> None:
    image_id = hosts.new_id()
    url = upload(store, DATA, image_id.upper())
    assert url.startswith(f'tmpl://test/{image_id}/')
    assert download(store, url) == DATA
    with pytest.raises(exceptions.Duplicate):
        upload(store, DATA, image_id)
    store.delete(at(store, url))
    assert host.is_clean()


def test_the_same_content_under_several_ids_is_stored_once(
    host: Host, store: driver.Store
) -> None:
    first, second = upload(store), upload(store)
    assert first != second
    assert len(host.copies()) == 1
    store.delete(at(store, first))
    with pytest.raises(exceptions.NotFound):
        store.get(at(store, first))
    assert download(store, second) == DATA
    store.delete(at(store, second))
    assert host.is_clean()


def test_a_corrupt_copy_is_replaced_by_the_next_upload(
    host: Host, store: driver.Store
) -> None:
    first = upload(store)
    (copy,) = host.copies()
    os.truncate(copy / 'image', 100)
    second = upload(store)
    assert download(store, first) == download(store, second) == DATA
    assert len(host.quarantined()) == 1
    assert host.disagreements() == []
