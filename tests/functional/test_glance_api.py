# SPDX-License-Identifier: Apache-2.0
"""The store as users of the cloud meet it: through the real Glance API."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import socket
from collections.abc import Callable, Iterator

import pytest
import requests
import xxhash

from harness import glance
from harness import waiting
from harness.host import Host
from harness.image_api import ImageClient
from harness.image_api import parts_of
from tests.functional.conftest import Site
from tmpl_glance_store import factory
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.placement import hash_range

MIB = 1 << 20

#: Not a multiple of anything: chunk, piece and leaf all end in its middle.
SIZE = 3 * MIB + 12345


@pytest.fixture
def server(host: Host) -> glance.GlanceServer:
    """A Glance of the test's own, not started yet, with one backend only."""
    return glance.GlanceServer(
        host.root / 'glance',
        backends={'own': 'tmpl'},
        sections={'own': host.settings},
    )


def chunked(data: bytes, size: int = 77777) -> Iterator[bytes]:
    """Yield *data* in pieces: as a body of unknown length."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def digest_of(images: ImageClient, image_id: str) -> str:
    """Return the digest that the image's only location names."""
    (location,) = images.locations(image_id)
    return parts_of(location['url'])['digest']


# Uploads and downloads


@pytest.mark.parametrize('body', [bytes, chunked])
def test_an_upload_comes_back_unchanged(
    images: ImageClient, body: Callable[[bytes], bytes | Iterator[bytes]]
) -> None:
    data = os.urandom(SIZE)
    image_id = images.upload(body(data))
    image = images.show(image_id)
    assert image['status'] == 'active'
    assert image['size'] == SIZE
    assert image['checksum'] == hashlib.md5(data).hexdigest()
    assert image['os_hash_value'] == hashlib.sha512(data).hexdigest()
    assert images.download(image_id) == data


@pytest.mark.parametrize(
    ('byte_range', 'expected'),
    [
        ('0-0', slice(0, 1)),
        ('100-4095', slice(100, 4096)),
        (f'{MIB - 3}-{2 * MIB + 3}', slice(MIB - 3, 2 * MIB + 4)),
        (f'{SIZE - 10}-', slice(SIZE - 10, SIZE)),
        ('-7', slice(SIZE - 7, SIZE)),
        (f'1-{10 * SIZE}', slice(1, SIZE)),
    ],
)
def test_a_range_is_answered_with_exactly_its_bytes(
    images: ImageClient, byte_range: str, expected: slice
) -> None:
    data = os.urandom(SIZE)
    response = images.download_range(images.upload(data), byte_range)
    assert response.status_code == 206
    assert response.headers['Content-Range'] == (
        f'bytes {expected.start}-{expected.stop - 1}/{SIZE}'
    )
    assert response.content == data[expected]


def test_a_range_beyond_the_end_is_refused(images: ImageClient) -> None:
    image_id = images.upload(b'short')
    assert images.download_range(image_id, '5-').status_code == 416


@pytest.mark.parametrize('body', [b'', iter(())])
def test_an_empty_upload_does_what_the_file_store_does(
    images: ImageClient, body: bytes | Iterator[bytes]
) -> None:
    seen = []
    for store in ('files', 'fast'):
        image_id = images.create()
        uploaded = images.try_upload(image_id, body, store)
        image = images.show(image_id)
        download = images.request('GET', f'/{image_id}/file')
        seen.append(
            (
                uploaded.status_code,
                download.status_code,
                download.content,
                *(
                    image[name]
                    for name in ('status', 'size', 'checksum', 'os_hash_value')
                ),
            )
        )
    assert seen[0] == seen[1]


def test_zeros_take_no_room_on_the_disk(
    site: Site, images: ImageClient
) -> None:
    data = bytes(8 * MIB) + os.urandom(MIB) + bytes(8 * MIB)
    image_id = images.upload(data)
    (copy,) = site.fast.copies(digest_of(images, image_id))
    assert (copy / 'image').stat().st_blocks * 512 < 2 * MIB
    assert images.download(image_id) == data


def test_an_image_is_not_uploaded_twice(images: ImageClient) -> None:
    image_id = images.upload(b'first')
    assert images.try_upload(image_id, b'second').status_code == 409
    assert images.download(image_id) == b'first'


def test_a_download_goes_on_while_the_image_is_deleted(
    images: ImageClient,
) -> None:
    data = os.urandom(32 * MIB)  # more than sockets buffer
    image_id = images.upload(data)
    with images.request('GET', f'/{image_id}/file', stream=True) as download:
        images.delete(image_id)
        assert b''.join(download.iter_content(MIB)) == data


# Placement


def test_the_location_names_scheme_cluster_image_and_backend(
    images: ImageClient,
) -> None:
    image_id = images.upload(b'content')
    (location,) = images.locations(image_id)
    parts = parts_of(location['url'])
    assert (parts['cluster'], parts['image_id']) == ('fast', image_id)
    assert location['metadata'] == {'store': 'fast'}


def test_each_copy_is_where_the_hash_ranges_say(
    site: Site, images: ImageClient
) -> None:
    store = factory.build_catalog_store(site.fast.catalog_url)
    used = set()
    contents = [b'template %d' % number for number in range(16)]
    uploaded = {images.upload(content): content for content in contents}
    with contextlib.closing(catalog.Catalog(store, 'fast')) as known:
        ranges = list(hash_range.HashRange(known.locations.all(), 1).ranges())
        seed = known.history.begin().seed
    for image_id, content in uploaded.items():
        (copy,) = site.fast.copies(digest_of(images, image_id))
        position = xxhash.xxh3_64_intdigest(content, seed)
        (owner,) = {
            location.path
            for first, last, location in ranges
            if first <= position <= last
        }
        assert copy.is_relative_to(owner)
        assert (
            json.loads((copy / 'template.json').read_text())['position']
            == position
        )
        used.add(owner)
    assert len(used) > 1


def test_the_same_content_is_stored_once(
    site: Site, images: ImageClient
) -> None:
    data = os.urandom(SIZE)
    first, second = images.upload(data), images.upload(chunked(data))
    (copy,) = site.fast.copies(digest_of(images, first))
    assert digest_of(images, second) == copy.name
    images.delete(first)
    assert images.download(second) == data
    images.delete(second)
    assert not copy.exists()


# Several backends


def test_each_backend_keeps_what_it_is_given(
    site: Site, images: ImageClient
) -> None:
    data = os.urandom(SIZE)
    by_store = {
        store: images.upload(data, store=store)
        for store in ('fast', 'slow', 'files')
    }
    for store, image_id in by_store.items():
        assert images.show(image_id)['stores'] == store
        assert images.download(image_id) == data
    assert len(site.fast.copies()) == len(site.slow.copies()) == 1
    assert (site.files / by_store['files']).read_bytes() == data


@pytest.mark.parametrize(
    ('source', 'target'),
    [('fast', 'slow'), ('fast', 'files'), ('files', 'fast')],
)
def test_an_image_is_copied_between_backends(
    site: Site, images: ImageClient, source: str, target: str
) -> None:
    data = os.urandom(SIZE)
    image_id = images.upload(data, store=source)
    images.import_into(image_id, 'copy-image', target)
    assert {
        location['metadata']['store']
        for location in images.locations(image_id)
    } == {source, target}
    images.delete_from(source, image_id)
    assert images.download(image_id) == data


def test_a_staged_image_is_imported_into_several_backends(
    site: Site, images: ImageClient
) -> None:
    data = os.urandom(SIZE)
    image_id = images.create()
    images.stage(image_id, data)
    images.import_into(image_id, 'glance-direct', 'fast', 'slow')
    assert len(site.fast.copies()) == len(site.slow.copies()) == 1
    images.delete_from('fast', image_id)
    assert images.download(image_id) == data


# Uploads that fail


def test_a_full_disk_is_told_to_the_user(images: ImageClient) -> None:
    image_id = images.create()
    response = images.try_upload(image_id, b'content', 'full')
    assert response.status_code == 413
    assert 'room' in response.text
    assert images.show(image_id)['status'] == 'queued'


@pytest.mark.parametrize('declared', [SIZE - 1, SIZE + 1, 1])
def test_a_wrong_size_is_refused_and_the_image_can_be_uploaded_again(
    site: Site, images: ImageClient, declared: int
) -> None:
    data = os.urandom(SIZE)
    image_id = images.create()
    response = images.try_upload(
        image_id, data, **{'X-OpenStack-Image-Size': str(declared)}
    )
    assert response.status_code == 400
    assert images.show(image_id)['status'] == 'queued'
    assert site.fast.is_clean()
    assert images.try_upload(image_id, data).status_code == 204
    assert images.download(image_id) == data


@pytest.mark.parametrize(
    'head',
    [
        b'Content-Length: 8000000\r\n\r\n' + os.urandom(3 * MIB),
        b'Transfer-Encoding: chunked\r\n\r\n80000\r\n'
        + os.urandom(0x80000)
        + b'\r\n80000\r\n'
        + os.urandom(100),
        b'Transfer-Encoding: chunked\r\n\r\n80000\r\n'
        + os.urandom(0x80000)
        + b'\r\n',
    ],
    ids=['sized', 'in a chunk', 'between chunks'],
)
def test_a_client_that_vanishes_leaves_nothing(
    site: Site, images: ImageClient, head: bytes
) -> None:
    image_id = images.create()
    with socket.create_connection(('127.0.0.1', site.server.port)) as client:
        client.sendall(
            f'PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: glance\r\n'
            f'Content-Type: application/octet-stream\r\n'.encode()
            + head
        )
        waiting.wait_for(site.fast.unfinished, 'the upload to begin')
    waiting.wait_for(site.fast.is_clean, 'the disks to be clean')
    waiting.wait_for(
        lambda: images.show(image_id)['status'] == 'queued',
        'the image to be queued again',
    )
    assert images.try_upload(image_id, b'once more').status_code == 204
    assert images.download(image_id) == b'once more'


# Concurrency


def test_parallel_uploads_of_equal_and_other_content_all_hold(
    site: Site, images: ImageClient
) -> None:
    contents = [os.urandom(SIZE) for _ in range(4)] * 2
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        uploaded = list(pool.map(images.upload, contents))
        downloaded = list(pool.map(images.download, uploaded))
    assert downloaded == contents
    assert len(site.fast.copies()) == 4
    assert site.fast.disagreements() == []


def test_uploads_and_deletions_of_one_content_do_not_hurt_each_other(
    site: Site, images: ImageClient
) -> None:
    data = os.urandom(MIB)

    def upload_and_delete(_: int) -> None:
        for _ in range(5):
            image_id = images.upload(data)
            assert images.download(image_id) == data
            images.delete(image_id)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(upload_and_delete, range(6)))
    assert site.fast.is_clean()


# Other configurations, restarts, crashes and lost disks


def test_the_single_store_configuration_works(host: Host) -> None:
    data = os.urandom(SIZE)
    server = glance.GlanceServer(
        host.root / 'glance',
        sections={
            'glance_store': {
                'stores': 'tmpl,file',
                'default_store': 'tmpl',
                **host.settings,
            }
        },
    )
    with server:
        images = ImageClient(server)
        image_id = images.upload(data)
        assert images.download(image_id) == data
        assert images.download_range(image_id, '5-8').content == data[5:9]
        (location,) = images.locations(image_id)
        assert location['url'].startswith(f'tmpl://test/{image_id}/')
        images.delete(image_id)
    assert host.is_clean()


def test_a_restart_of_glance_keeps_the_images(
    host: Host, server: glance.GlanceServer
) -> None:
    data = os.urandom(SIZE)
    images = ImageClient(server)
    with server:
        image_id = images.upload(data)
    with server:
        assert images.download(image_id) == data
        images.delete(image_id)
    assert host.is_clean()


def test_a_crash_during_an_upload_leaves_nothing_after_the_next_start(
    host: Host, server: glance.GlanceServer
) -> None:
    images = ImageClient(server)
    with server:
        kept = images.upload(b'kept')
        image_id = images.create()
        with pytest.raises(requests.ConnectionError):
            images.try_upload(image_id, crash_after(MIB, host, server))
        assert host.unfinished() != []
    with server:
        assert host.unfinished() == []
        assert len(host.copies()) == 1
        assert images.download(kept) == b'kept'


def crash_after(
    size: int, host: Host, server: glance.GlanceServer
) -> Iterator[bytes]:
    """Yield *size* bytes, and when they arrive kill Glance."""
    yield from chunked(os.urandom(size))
    waiting.wait_for(host.unfinished, 'the upload to begin')
    server.kill()
    yield b'never read'


def test_a_disk_that_is_not_mounted_is_not_taken_for_lost_data(
    host: Host, server: glance.GlanceServer
) -> None:
    images = ImageClient(server)
    with server:
        image_id = images.upload(b'content')
        (copy,) = host.copies()
        disk = copy.parents[2]
        with unmounted(disk):
            response = images.request('GET', f'/{image_id}/file')
            assert response.status_code == 503
            others = [images.upload(os.urandom(100)) for _ in range(8)]
            assert list(disk.iterdir()) == []
        assert images.download(image_id) == b'content'
        for each in (image_id, *others):
            images.delete(each)
    assert host.is_clean()


def test_an_image_deleted_while_its_disk_is_away_goes_when_it_is_back(
    host: Host, server: glance.GlanceServer
) -> None:
    images = ImageClient(server)
    with server:
        image_id = images.upload(b'content')
        (copy,) = host.copies()
        with unmounted(copy.parents[2]):
            images.delete(image_id)
    with server:
        assert host.is_clean()


@contextlib.contextmanager
def unmounted(disk: pathlib.Path) -> Iterator[None]:
    """Leave an empty directory at *disk*, as unmounting it does."""
    aside = disk.with_name(f'{disk.name}-unmounted')
    disk.rename(aside)
    disk.mkdir()
    yield
    disk.rmdir()
    aside.rename(disk)
