# SPDX-License-Identifier: Apache-2.0
"""The glance_store contract, as Glance calls it and as users may abuse it."""

import contextlib
import dataclasses
import errno
import gc
import hashlib
import io
import os
import pathlib
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import glance_store
import pytest
from glance_store import backend as single_backend
from glance_store import capabilities
from glance_store import exceptions
from glance_store import location as glance_location
from glance_store import multi_backend
from oslo_config import cfg

from harness import host as hosts
from harness.host import Host
from harness.host import at
from harness.host import download
from tests.conftest import Forbid
from tmpl_glance_store import digests
from tmpl_glance_store import driver
from tmpl_glance_store import exceptions as our_exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store.catalog import sqlite
from tmpl_glance_store.options import store as opts

DATA = hosts.content((1 << 20) + 12345)

READ, WRITE = (
    capabilities.BitMasks.READ_ACCESS,
    capabilities.BitMasks.WRITE_ACCESS,
)


@pytest.fixture
def store(host: Host) -> driver.Store:
    """A store in the single-store configuration."""
    return host.store()


def upload(
    store: driver.Store, data: bytes = DATA, image_id: str | None = None
) -> str:
    """Add an image, and return its URL."""
    return store.add(
        image_id or hosts.new_id(), io.BytesIO(data), len(data), 'sha256'
    )[0]


class Unread(io.BytesIO):
    """A stream that must not be read."""

    def read(self, *_: object) -> bytes:
        raise AssertionError('the stream was read')


# Add


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


# Get


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


def open_files(below: pathlib.Path) -> list[str]:
    """Return the images that this process has open."""
    found = []
    for name in os.listdir('/proc/self/fd'):
        with contextlib.suppress(FileNotFoundError):
            path = os.readlink(f'/proc/self/fd/{name}')
            if path.startswith(str(below)) and '/image' in path:
                found.append(path)
    return found


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


# Delete


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


# The rest of the contract


def test_the_store_reads_at_random_writes_and_can_be_reused(
    store: driver.Store,
) -> None:
    masks = capabilities.BitMasks
    assert store.is_capable(
        masks.READ_RANDOM, masks.WRITE_ACCESS, masks.DRIVER_REUSABLE
    )
    for more in (masks.WRITE_OFFSET, masks.WRITE_CHUNK):
        assert not store.is_capable(more)


def test_the_scheme_and_the_prefix_are_those_of_the_urls(
    host: Host, store: driver.Store
) -> None:
    assert store.get_schemes() == ('tmpl',)
    assert store.url_prefix == 'tmpl://test/'
    assert upload(store).startswith(store.url_prefix)
    assert host.store('fast').url_prefix == 'tmpl://test/'


def test_a_url_survives_the_way_to_glance_and_back(
    store: driver.Store,
) -> None:
    url = upload(store)
    assert at(store, url).get_store_uri() == url


def test_glances_own_sample_lists_the_options() -> None:
    names = {option.name for option in opts.STORE_OPTS}
    assert len(names) == len(opts.STORE_OPTS)
    single = dict(single_backend._list_opts())['glance_store']
    assert names <= {option.name for option in single}
    multi = dict(multi_backend._list_config_opts())['tmpl']
    assert names == {option.name for option in multi}
    assert all(option.help for option in multi)


# The single-store and the multi-store configuration


@pytest.fixture
def no_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the stores of a test out of glance_store's global tables."""
    for name in ('SCHEME_TO_CLS_MAP', 'SCHEME_TO_CLS_BACKEND_MAP'):
        monkeypatch.setattr(glance_location, name, {})


def test_the_single_store_configuration_works(
    host: Host, no_schemes: None
) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    glance_store.register_opts(conf)
    for name, value in {
        **host.settings,
        'stores': ['tmpl'],
        'default_store': 'tmpl',
    }.items():
        conf.set_override(name, value, group='glance_store')
    assert glance_store.create_stores(conf) == 1
    store = glance_store.get_store_from_scheme('tmpl')
    image_id = hosts.new_id()
    url, *_, metadata = glance_store.store_add_to_backend_with_multihash(
        image_id, io.BytesIO(DATA), len(DATA), 'sha256', store
    )
    assert metadata == {}
    chunks, size = glance_store.get_from_backend(url)
    assert (b''.join(chunks), size) == (DATA, len(DATA))
    assert glance_store.get_size_from_backend(url) == len(DATA)
    glance_store.delete_from_backend(url)
    assert host.is_clean()


@dataclasses.dataclass
class Backends:
    """Several backends in one Glance, through glance_store's functions."""

    conf: cfg.ConfigOpts
    hosts: dict[str, Host]

    def store(self, name: str) -> driver.Store:
        return glance_location.SCHEME_TO_CLS_BACKEND_MAP['tmpl'][name]['store']

    def where(self, url: str, name: str) -> glance_location.Location:
        return glance_location.get_location_from_uri_and_backend(
            url, name, conf=self.conf
        )


@pytest.fixture
def backends(tmp_path: pathlib.Path, no_schemes: None) -> Backends:
    """Two backends on one catalog; their clusters are not configured."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    conf.register_opt(cfg.DictOpt('enabled_backends'))
    conf.set_override('enabled_backends', {'fast': 'tmpl', 'slow': 'tmpl'})
    multi_backend.register_store_opts(conf)
    found = {}
    for name in ('fast', 'slow'):
        found[name] = Host(
            tmp_path / name,
            tmpl_store_cluster=name,
            tmpl_store_catalog=f'sqlite:///{tmp_path}/c',
        )
        for option, value in found[name].settings.items():
            if option != 'tmpl_store_cluster':
                conf.set_override(option, value, group=name)
        found[name].catalog_url = f'sqlite:///{tmp_path}/c'
    multi_backend.create_multi_stores(conf)
    return Backends(conf, found)


def test_each_backend_has_a_cluster_of_its_own(backends: Backends) -> None:
    for name in ('fast', 'slow'):
        store = backends.store(name)
        assert store.url_prefix == f'tmpl://{name}/'
        url = upload(store)
        assert url.startswith(f'tmpl://{name}/')
        chunks, _ = store.get(backends.where(url, name))
        assert b''.join(chunks) == DATA
        assert len(backends.hosts[name].copies()) == 1
        assert backends.hosts[name].disagreements() == []
        store.delete(backends.where(url, name))
        assert backends.hosts[name].is_clean()


def test_the_metadata_name_the_backend(backends: Backends) -> None:
    for name in ('fast', 'slow'):
        *_, five = backends.store(name).add(
            hosts.new_id(), io.BytesIO(DATA), len(DATA), 'sha256'
        )
        *_, four = backends.store(name).add(
            hosts.new_id(), io.BytesIO(DATA), len(DATA)
        )
        assert five == four == {'store': name}


def test_one_image_may_be_in_several_backends(backends: Backends) -> None:
    image_id = hosts.new_id()
    fast, slow = (
        upload(backends.store(name), DATA, image_id)
        for name in ('fast', 'slow')
    )
    backends.store('fast').delete(backends.where(fast, 'fast'))
    assert backends.hosts['fast'].is_clean()
    chunks, _ = backends.store('slow').get(backends.where(slow, 'slow'))
    assert b''.join(chunks) == DATA


def test_a_backend_does_not_serve_the_urls_of_another(
    backends: Backends,
) -> None:
    url = upload(backends.store('fast'))
    slow = backends.store('slow')
    for call in (slow.get, slow.get_size, slow.delete):
        with pytest.raises(exceptions.NotFound):
            call(backends.where(url, 'slow'))
    assert len(backends.hosts['fast'].copies()) == 1


def test_the_weight_is_that_of_the_backend(
    backends: Backends, store: driver.Store
) -> None:
    backends.conf.set_override('weight', 7, group='slow')
    assert [backends.store(name).weight for name in ('fast', 'slow')] == [0, 7]
    assert store.weight == 0


def test_two_backends_cannot_share_a_directory(tmp_path: pathlib.Path) -> None:
    url = upload(Host(tmp_path, tmpl_store_cluster='one').store())
    other = Host(tmp_path, tmpl_store_cluster='two').store()
    assert not other.is_capable(WRITE)
    with pytest.raises(exceptions.StoreAddDisabled):
        upload(other)
    assert url


def test_what_backends_share_stands_in_backend_defaults(host: Host) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    store = driver.Store(conf, backend='fast')
    for name, value in host.settings.items():
        group = (
            'fast' if name == 'tmpl_store_locations' else 'backend_defaults'
        )
        conf.set_override(name, value, group=group)
    store.configure()
    assert store.url_prefix == 'tmpl://test/'
    assert download(store, upload(store)) == DATA


# Bad input: streams


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


# Bad input: what is asked for


def test_an_image_that_is_bound_already_is_a_duplicate(
    host: Host, store: driver.Store
) -> None:
    image_id = hosts.new_id()
    url = upload(store, DATA, image_id)
    for stream in (Unread(DATA), Unread(b'nevergonnamakeit')):
        with pytest.raises(exceptions.Duplicate):
            store.add(image_id, stream, 0, 'sha256')
    assert download(store, url) == DATA
    assert host.disagreements() == []


@pytest.mark.parametrize('algorithm', ['fake_algo', 'shake_128', '', 'md5 '])
def test_an_unknown_hashing_algorithm_is_told_before_anything_is_read(
    host: Host, store: driver.Store, algorithm: str
) -> None:
    with pytest.raises(exceptions.UnknownHashingAlgo):
        store.add(hosts.new_id(), Unread(DATA), len(DATA), algorithm)
    assert host.is_clean()


@pytest.mark.parametrize(
    'image_id',
    ['..', '../x', 'a/b', '', 'a' * 65, 'a\n', 'a%2fb', 'a?b', 'a#b', 'ä'],
)
def test_an_image_id_that_no_url_could_hold_is_invalid(
    host: Host, store: driver.Store, image_id: str
) -> None:
    with pytest.raises(exceptions.Invalid):
        store.add(image_id, Unread(DATA), len(DATA), 'sha256')
    assert host.is_clean()


ID, DIGEST, TOKEN = hosts.new_id(), 'a' * 64, 'b' * 32

MALFORMED = {
    'only the scheme': 'tmpl://',
    'no token': f'tmpl://test/{ID}/{DIGEST}',
    'empty token': f'tmpl://test/{ID}/{DIGEST}/',
    'a part too many': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}/x',
    'slash at the end': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}/',
    'newline at the end': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}\n',
    'newline within': f'tmpl://test/{ID}/{DIGEST}/{TOKEN[:16]}\n{TOKEN[16:]}',
    'space before': f' tmpl://test/{ID}/{DIGEST}/{TOKEN}',
    'query': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}?x=1',
    'fragment': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}#x',
    'one slash': f'tmpl:/test/{ID}/{DIGEST}/{TOKEN}',
    'another scheme': f'file://test/{ID}/{DIGEST}/{TOKEN}',
    'scheme in upper case': f'TMPL://test/{ID}/{DIGEST}/{TOKEN}',
    'no cluster': f'tmpl:///{ID}/{DIGEST}/{TOKEN}',
    'cluster is ..': f'tmpl://../{ID}/{DIGEST}/{TOKEN}',
    'user and port': f'tmpl://u:p@test:1/{ID}/{DIGEST}/{TOKEN}',
    'cluster in upper case': f'tmpl://Test/{ID}/{DIGEST}/{TOKEN}',
    'cluster too long': f'tmpl://{"t" * 64}/{ID}/{DIGEST}/{TOKEN}',
    'image id is ..': f'tmpl://test/../{DIGEST}/{TOKEN}',
    'image id climbs': f'tmpl://test/..%2f..%2fetc/{DIGEST}/{TOKEN}',
    'image id in upper case': f'tmpl://test/{ID.upper()}/{DIGEST}/{TOKEN}',
    'image id too long': f'tmpl://test/{"i" * 65}/{DIGEST}/{TOKEN}',
    'digest is ..': f'tmpl://test/{ID}/../{TOKEN}',
    'digest in upper case': f'tmpl://test/{ID}/{DIGEST.upper()}/{TOKEN}',
    'digest too short': f'tmpl://test/{ID}/{DIGEST[1:]}/{TOKEN}',
    'digest too long': f'tmpl://test/{ID}/{DIGEST}a/{TOKEN}',
    'digest is not hex': f'tmpl://test/{ID}/{"g" * 64}/{TOKEN}',
    'digits of another script': f'tmpl://test/{ID}/{"٣" * 64}/{TOKEN}',
    'token in upper case': f'tmpl://test/{ID}/{DIGEST}/{TOKEN.upper()}',
    'token too short': f'tmpl://test/{ID}/{DIGEST}/{TOKEN[1:]}',
    'token too long': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}b',
    'token is *': f'tmpl://test/{ID}/{DIGEST}/*',
    'NUL': f'tmpl://test/{ID}/{DIGEST}/{TOKEN[:-1]}\0',
    'very long': 'tmpl://' + 'a/' * 100_000,
    'empty': '',
}


@pytest.mark.parametrize('url', MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_url_is_refused_and_not_repeated(
    store: driver.Store, url: str
) -> None:
    where = driver.StoreLocation({}, store.conf)
    with pytest.raises(exceptions.BadStoreUri) as caught:
        where.parse_uri(url)
    assert TOKEN not in str(caught.value)
    assert DIGEST not in str(caught.value)


def other(text: str) -> str:
    """Return text of the same form that is not the same."""
    return ('0' if text[0] != '0' else '1') + text[1:]


FORGED = {
    'cluster': lambda c, i, d, t: ('another', i, d, t),
    'image id': lambda c, i, d, t: (c, hosts.new_id(), d, t),
    'digest': lambda c, i, d, t: (c, i, other(d), t),
    'token': lambda c, i, d, t: (c, i, d, other(t)),
    'token all zero': lambda c, i, d, t: (c, i, d, '0' * 32),
    'digest and token': lambda c, i, d, t: (c, i, other(d), other(t)),
}


@pytest.mark.parametrize('forge', FORGED.values(), ids=FORGED)
def test_a_forged_url_finds_nothing_and_deletes_nothing(
    host: Host, store: driver.Store, forge: Callable[..., tuple[str, ...]]
) -> None:
    mine, other_image = upload(store), upload(store, b'another image')
    parts = mine.removeprefix('tmpl://').split('/')
    forged = at(store, 'tmpl://' + '/'.join(forge(*parts)))
    for call in (store.get, store.get_size, store.delete):
        with pytest.raises(exceptions.NotFound) as caught:
            call(forged)
        assert parts[3] not in str(caught.value)
    assert download(store, mine) == DATA
    assert download(store, other_image) == b'another image'
    assert host.disagreements() == []


def test_the_token_of_one_image_does_not_open_another(
    host: Host, store: driver.Store
) -> None:
    mine, theirs = (upload(store).split('/') for _ in range(2))
    forged = at(store, '/'.join([*theirs[:-1], mine[-1]]))
    for call in (store.get, store.get_size, store.delete):
        with pytest.raises(exceptions.NotFound):
            call(forged)
    assert host.disagreements() == []


# Bad input: disks


@pytest.mark.parametrize('size', [0, len(DATA)])
def test_under_its_reserve_the_store_is_full_before_anything_is_read(
    host: Host, store: driver.Store, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    url = upload(store, b'before')
    monkeypatch.setattr(fsutil, 'free_bytes', lambda path: (-1, 1 << 40))
    with pytest.raises(exceptions.StorageFull):
        store.add(hosts.new_id(), Unread(DATA), size, 'sha256')
    assert download(store, url) == b'before'
    monkeypatch.undo()
    assert download(store, upload(store)) == DATA


def test_a_disk_that_hangs_is_a_timeout(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**host.settings, 'tmpl_store_write_timeout': 1}
    monkeypatch.setattr(host, 'settings', settings)
    hangs, pwrite = threading.Event(), os.pwrite

    def wait(*args: Any) -> int:
        hangs.wait()
        return pwrite(*args)

    store = host.store()
    monkeypatch.setattr(os, 'pwrite', wait)
    try:
        with pytest.raises(
            exceptions.TimeoutError, match='tmpl_store_write_timeout'
        ):
            upload(store)
    finally:
        hangs.set()
    assert host.is_clean()


def test_a_forbidden_location_disables_add_with_a_clear_log(
    host: Host, forbid: Forbid, caplog: pytest.LogCaptureFixture
) -> None:
    url = upload(host.store())
    for path in host.paths:
        forbid(path / 'incoming')
    caplog.clear()
    store = host.store()
    assert not store.is_capable(WRITE)
    assert store.is_capable(READ)
    assert all(str(path) in caplog.text for path in host.paths)
    assert 'denied' in caplog.text
    with pytest.raises(exceptions.StoreAddDisabled):
        upload(store)
    with pytest.raises(exceptions.StoreDeleteNotSupported):
        store.delete(at(store, url))
    assert download(store, url) == DATA
    forbid.lift()
    assert store.is_capable(WRITE), 'heals without a restart'
    store.delete(at(store, url))
    assert host.is_clean()


def test_a_location_that_becomes_forbidden_denies_uploads(
    host: Host, store: driver.Store, forbid: Forbid
) -> None:
    url = upload(store)
    for path in host.paths:
        forbid(path / 'incoming')
    with pytest.raises(exceptions.StorageWriteDenied):
        store.add(hosts.new_id(), Unread(DATA), len(DATA), 'sha256')
    assert download(store, url) == DATA
    forbid.lift()
    assert download(store, upload(store)) == DATA


@pytest.mark.parametrize('setting', ['tmpl_store_node', 'tmpl_store_cluster'])
def test_a_directory_of_another_node_or_cluster_is_left_alone(
    host: Host, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = upload(host.store())
    before = set(host.root.rglob('*'))
    stranger = Host(host.root, **{setting: 'stranger'})
    store = stranger.store()
    assert not store.is_capable(WRITE)
    assert 'stranger' in caplog.text
    assert set(host.root.rglob('*')) - before <= set(
        host.root.glob('catalog.sqlite*')
    )
    assert download(host.store(), url) == DATA


def take_away(path: pathlib.Path) -> pathlib.Path:
    """Unmount the disk at *path*: an empty directory is left."""
    away = path.with_name(f'{path.name}-away')
    path.rename(away)
    path.mkdir()
    return away


def bring_back(path: pathlib.Path) -> None:
    """Mount the disk again; fails if something was written beneath it."""
    path.rmdir()
    path.with_name(f'{path.name}-away').rename(path)


@pytest.mark.parametrize('restart', [False, True])
def test_a_disk_that_is_not_mounted_is_not_written_and_heals_when_it_is(
    host: Host, restart: bool
) -> None:
    store = host.store()
    urls = hosts.spread(host, lambda data: upload(store, data))
    gone = {path.name for path in host.paths[0].glob('templates/*/*')}
    take_away(host.paths[0])
    if restart:
        store = host.store()
    for data, url in urls.items():
        if url.split('/')[4] in gone:
            # Unreachable is not absent.
            with pytest.raises(exceptions.RemoteServiceUnavailable):
                store.get(at(store, url))
        else:
            assert download(store, url) == data
        assert store.get_size(at(store, url)) == len(data)
    # The other locations go on working, whatever the hash.
    for seed in range(12):
        data = hosts.content(1000, seed)
        urls[data] = upload(store, data)
    assert not list(host.paths[0].iterdir())
    bring_back(host.paths[0])
    for data, url in urls.items():
        assert download(store, url) == data
    assert host.disagreements() == []
    assert hosts.spread(host, lambda data: upload(store, data))


@pytest.mark.parametrize('restart', [False, True])
def test_the_only_disk_that_is_not_mounted_denies_uploads_until_it_is(
    tmp_path: pathlib.Path, restart: bool
) -> None:
    host = Host(tmp_path, 'ssd:a:1')
    store = host.store()
    url = upload(store)
    take_away(host.paths[0])
    if restart:
        store = host.store()
    with pytest.raises(
        exceptions.StoreAddDisabled
        if restart
        else exceptions.StorageWriteDenied
    ):
        store.add(hosts.new_id(), Unread(DATA), len(DATA), 'sha256')
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        store.get(at(store, url))
    assert not list(host.paths[0].iterdir())
    bring_back(host.paths[0])
    assert download(store, upload(store, b'again')) == b'again'
    assert download(store, url) == DATA


def test_a_target_that_is_not_mounted_denies_what_staging_took(
    tmp_path: pathlib.Path,
) -> None:
    host = Host(tmp_path, 'staging:s:1', 'ssd:a:1')
    store = host.store()
    take_away(host.paths[1])
    with pytest.raises(exceptions.StorageWriteDenied):
        upload(store)
    assert host.is_clean()


def test_a_broken_disk_is_replaced_by_the_replaced_file(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(tmp_path, 'ssd:a:1')
    url = upload(host.store())
    take_away(host.paths[0])
    store = host.store()
    marker = host.paths[0] / 'replaced'
    assert str(marker) in caplog.text, 'the log says what to do'
    marker.touch()
    fresh = upload(store, b'on the new disk')
    assert download(store, fresh) == b'on the new disk'
    assert not marker.exists()
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        store.get(at(store, url))
    store.delete(at(store, url))
    assert host.disagreements() == []


# Bad input: options


SENSELESS = {
    'no location': ({'tmpl_store_locations': []}, 'tmpl_store_locations'),
    'no tier': ({'tmpl_store_locations': ['/srv/a']}, '/srv/a'),
    'unknown tier': ({'tmpl_store_locations': ['nvme:/srv/a']}, 'nvme'),
    'relative path': ({'tmpl_store_locations': ['ssd:srv/a']}, 'srv/a'),
    'weight is no number': (
        {'tmpl_store_locations': ['ssd:/srv/a:much']},
        'much',
    ),
    'weight is zero': ({'tmpl_store_locations': ['ssd:/srv/a:0']}, 'weight'),
    'weight is negative': ({'tmpl_store_locations': ['ssd:/srv/a:-1']}, '-1'),
    'one directory twice': (
        {'tmpl_store_locations': ['ssd:/srv/a', 'hdd:/srv/b/../a/']},
        '/srv/a',
    ),
    'one within the other': (
        {
            'tmpl_store_locations': [
                'ssd:/srv/a',
                'ssd:/srv/a-b',
                'ssd:/srv/a/c',
            ]
        },
        '/srv/a/c',
    ),
    'cluster cannot be in a URL': (
        {'tmpl_store_cluster': 'my cluster'},
        'tmpl_store_cluster',
    ),
    'node has a slash': ({'tmpl_store_node': '../n'}, 'tmpl_store_node'),
    'catalog of no kind': (
        {'tmpl_store_catalog': 'nosql://x'},
        'tmpl_store_catalog',
    ),
    'catalog path is relative': (
        {'tmpl_store_catalog': 'sqlite://x.sqlite'},
        'tmpl_store_catalog',
    ),
    'catalog is below a file': (
        {'tmpl_store_catalog': 'sqlite:////proc/version/catalog'},
        'tmpl_store_catalog',
    ),
    'placement of no kind': (
        {'tmpl_store_placement': 'by_mood'},
        'tmpl_store_placement',
    ),
    'more copies at once than at all': (
        {'tmpl_store_copies': 1, 'tmpl_store_min_copies': 2},
        'tmpl_store_min_copies',
    ),
    'mode is no mode': (
        {'tmpl_store_directory_mode': 'rwx'},
        'tmpl_store_directory_mode',
    ),
    'mode locks the store out': (
        {'tmpl_store_directory_mode': '0077'},
        'tmpl_store_directory_mode',
    ),
    'no such group': (
        {'tmpl_store_group': 'no-such-group'},
        'tmpl_store_group',
    ),
}


@pytest.mark.parametrize('backend', [None, 'fast'])
@pytest.mark.parametrize(
    ('settings', 'told'), SENSELESS.values(), ids=SENSELESS
)
def test_an_option_that_makes_no_sense_disables_the_store_and_is_named(
    host: Host,
    settings: dict[str, Any],
    told: str,
    backend: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host.settings.update(settings)
    store = host.store(backend)
    assert told in caplog.text
    with pytest.raises(exceptions.StoreAddDisabled):
        upload(store)
    with pytest.raises(exceptions.BadStoreConfiguration) as caught:
        store.configure(re_raise_bsc=True)
    assert told in str(caught.value)
    assert not [path for path in host.paths if path.exists()]


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('tmpl_store_copies', 0),
        ('tmpl_store_copies', 'three'),
        ('tmpl_store_min_copies', 0),
        ('tmpl_store_write_timeout', 0),
        ('tmpl_store_reserve', -1),
        ('tmpl_store_reserve', 100),
        ('tmpl_store_chunk_size', 0),
        ('tmpl_store_chunk_size', 1 << 30),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_configuration(
    host: Host, name: str, value: object
) -> None:
    host.settings[name] = value
    with pytest.raises((ValueError, cfg.Error)):
        host.store()


def test_a_senseless_value_in_the_file_is_a_bad_configuration(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / 'glance.conf').write_text(
        f'[glance_store]\ntmpl_store_locations = ssd:{tmp_path}/a\n'
        'tmpl_store_copies = three\n'
    )
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(tmp_path / 'glance.conf')])
    with pytest.raises(exceptions.BadStoreConfiguration, match='three'):
        driver.Store(conf).configure(re_raise_bsc=True)


@pytest.mark.parametrize(
    'locations', [['ssd:a:0.0001'], ['ssd:a:0.0001', 'ssd:b:1000000']]
)
def test_a_tiny_weight_is_a_weight(
    tmp_path: pathlib.Path, locations: list[str]
) -> None:
    store = Host(tmp_path, *locations).store()
    assert download(store, upload(store)) == DATA


def test_a_store_that_is_not_configured_does_not_call_images_absent(
    host: Host, store: driver.Store
) -> None:
    url = upload(store)
    host.settings['tmpl_store_node'] = 'no good name'
    broken = host.store()
    for call in (broken.get, broken.get_size):
        with pytest.raises(exceptions.RemoteServiceUnavailable):
            call(at(broken, url))


# The catalog


def unreachable(*_: object) -> None:
    raise our_exceptions.Unavailable('catalog: no route to host')


@pytest.mark.parametrize('restart', [False, True])
def test_without_the_catalog_nothing_changes_but_known_images_are_read(
    host: Host, restart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = host.store()
    url = upload(store)
    if restart:
        store = host.store()
    parts = url.split('/')
    unknown = '/'.join([*parts[:3], hosts.new_id(), *parts[4:]])
    forged = '/'.join([*parts[:5], other(parts[5])])
    monkeypatch.setattr(sqlite.SQLiteKeyValue, 'get', unreachable)
    for call in (store.get, store.get_size, store.delete):
        # Unreachable is not absent.
        with pytest.raises(exceptions.RemoteServiceUnavailable):
            call(at(store, unknown))
        with pytest.raises(exceptions.NotFound):
            call(at(store, forged))
    assert download(store, url) == DATA
    assert store.get_size(at(store, url)) == len(DATA)
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        store.delete(at(store, url))
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        store.add(hosts.new_id(), Unread(DATA), len(DATA), 'sha256')
    monkeypatch.undo()
    assert download(store, url) == DATA
    assert host.disagreements() == []


@pytest.mark.parametrize(
    'call',
    [
        'tmpl_glance_store.catalog.sqlite.SQLiteKeyValue.list',
        'tmpl_glance_store.factory.build_catalog_store',
    ],
)
def test_a_catalog_that_was_away_at_the_start_is_used_when_it_is_back(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = upload(host.store())
    with monkeypatch.context() as patch:
        patch.setattr(call, unreachable)
        store = host.store()
    assert 'no route to host' in caplog.text
    assert store.is_capable(WRITE)
    assert download(store, url) == DATA
    assert download(store, upload(store, b'more')) == b'more'


def test_no_error_of_ours_reaches_glance(
    host: Host, store: driver.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = [
        error
        for error in vars(our_exceptions).values()
        if isinstance(error, type)
        and issubclass(error, our_exceptions.TmplError)
    ]
    assert len(ours) > 5
    for error in ours:

        def fail(*_: object, error: type[Exception] = error) -> None:
            raise error('the reason is 100 % clear')

        monkeypatch.setattr(digests, 'new_hasher', fail)
        with pytest.raises(exceptions.GlanceStoreException) as caught:
            upload(store)
        assert caught.value.__cause__.__class__ is error
