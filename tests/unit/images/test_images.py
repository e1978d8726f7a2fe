# SPDX-License-Identifier: Apache-2.0
"""Images go with the last one bound to their content; readers and racers."""

import contextlib
import errno
import itertools
import os
import pathlib
import threading
from collections.abc import Callable, Iterable

import pytest

from harness import host as hosts
from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from tests.conftest import Forbid
from tests.unit.meetings import DATA
from tests.unit.meetings import OTHER
from tests.unit.meetings import fail
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store.localstore import location as local


def test_an_image_comes_back(host: Host, parts: factory.Parts) -> None:
    image = add(parts, DATA)
    assert read(parts, image) == DATA
    assert parts.images.size(image) == len(DATA)
    assert host.disagreements() == []


def untouched(path: pathlib.Path) -> tuple[int, ...]:
    """Return what stays as it is while a file is only read."""
    found = path.stat()
    return (
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


def test_the_same_content_is_stored_once_and_goes_with_the_last_image(
    host: Host, parts: factory.Parts
) -> None:
    images = [add(parts, DATA) for _ in range(3)]
    (copy,) = host.copies()
    before = untouched(copy / 'image')
    for image in images[:-1]:
        remove(parts, image)
        assert read(parts, images[-1]) == DATA
        assert untouched(copy / 'image') == before
        with pytest.raises(exceptions.NotFound):
            read(parts, image)
        assert host.disagreements() == []
    remove(parts, images[-1])
    assert host.is_clean()


def test_the_same_content_needs_no_second_seal(tmp_path: pathlib.Path) -> None:
    steps: list[str] = []
    parts = Host(tmp_path, 'ssd:a:1').parts(steps.append)
    add(parts, DATA)
    steps.clear()
    add(parts, DATA)
    assert steps == ['staged', 'hashed', 'bound']


def test_an_uploader_gets_the_checksums_of_what_it_uploaded(
    parts: factory.Parts,
) -> None:
    first = parts.images.add('image-1', [DATA], 0, 'sha512').template
    second = parts.images.add('image-2', [DATA], 0, 'sha256').template
    assert second.digest == first.digest
    assert (second.hashing_algo, len(second.multihash)) == ('sha256', 64)


@pytest.mark.parametrize(
    'act',
    [
        hosts.flip_byte,
        lambda copy: os.truncate(copy / 'image', 10),
        lambda copy: (copy / 'image').unlink(),
        lambda copy: (copy / 'template.json').unlink(),
    ],
)
def test_a_corrupt_copy_is_quarantined_and_replaced(
    host: Host,
    parts: factory.Parts,
    act: Callable[[pathlib.Path], None],
) -> None:
    first = add(parts, DATA)
    (copy,) = host.copies()
    act(copy)
    second = add(parts, DATA)
    assert read(parts, first) == read(parts, second) == DATA
    assert [path.name.split('.')[0] for path in host.quarantined()] == [
        first.digest
    ]
    assert host.disagreements() == []


def test_a_copy_that_its_disk_cannot_read_is_quarantined_and_replaced(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = add(parts, DATA)
    monkeypatch.setattr(
        local.digests, 'digest_of', fail(OSError(errno.EIO, 'bad sector'))
    )
    second = add(parts, DATA)
    assert read(parts, first) == read(parts, second) == DATA
    assert len(host.quarantined()) == 1
    assert host.disagreements() == []


def test_a_copy_that_may_not_be_read_now_is_left_alone(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = add(parts, DATA)
    monkeypatch.setattr(
        local.digests, 'digest_of', fail(OSError(errno.EMFILE, 'too many'))
    )
    with pytest.raises(exceptions.Unavailable, match='too many'):
        add(parts, DATA)
    assert read(parts, first) == DATA
    assert host.quarantined() == []
    assert host.disagreements() == []


def test_the_quarantined_copy_of_an_old_layout_is_not_recorded_any_more(
    tmp_path: pathlib.Path,
) -> None:
    add(Host(tmp_path, 'ssd:a:1').parts(), DATA)
    # Its range goes to another location, by its weight.
    host = Host(tmp_path, 'ssd:a:1', 'ssd:b:999999')
    parts = host.parts()
    (copy,) = host.copies()
    assert copy.is_relative_to(host.paths[0])
    os.truncate(copy / 'image', 10)
    add(parts, DATA)
    (copy,) = host.copies()
    assert copy.is_relative_to(host.paths[1])
    assert host.disagreements() == []


def test_a_reader_that_found_the_image_reads_it_to_the_end(
    host: Host, parts: factory.Parts
) -> None:
    image = add(parts, DATA)
    with contextlib.closing(parts.images.read(image, 0, None, 1000)) as chunks:
        remove(parts, image)
        assert b''.join(chunks) == DATA
    assert host.is_clean()


def test_uploads_and_removals_of_one_content_race_without_harm(
    host: Host,
) -> None:
    parts = host.parts()
    problems: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(12):
            try:
                image = add(parts, OTHER)
                if read(parts, image) != OTHER:
                    problems.append('wrong bytes')
                remove(parts, image)
            except Exception as exc:
                problems.append(repr(exc))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert host.is_clean()


def test_no_location_that_can_be_written_is_told_with_all_reasons(
    host: Host, forbid: Forbid
) -> None:
    host.paths[0].write_text('in the way')
    parts = host.parts()
    parts.images.require_writable()
    for path in host.paths[1:]:
        forbid(path / 'incoming')
    with pytest.raises(exceptions.WriteDenied) as caught:
        parts.images.require_writable()
    assert all(str(path) in str(caught.value) for path in host.paths)


def test_a_full_disk_is_no_reason_not_to_start(
    parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        local.LocalLocation, 'probe', fail(exceptions.NoSpace('full'))
    )
    parts.images.require_writable()


@pytest.mark.parametrize(
    ('settings', 'option'),
    [
        ({'tmpl_store_placement': 'by_mood'}, 'tmpl_store_placement'),
        ({'tmpl_store_catalog': 'nosql:///x'}, 'tmpl_store_catalog'),
        (
            {'tmpl_store_catalog': 'sqlite://relative.sqlite'},
            'tmpl_store_catalog',
        ),
    ],
)
def test_an_option_that_names_something_unknown_is_refused(
    tmp_path: pathlib.Path, settings: dict[str, object], option: str
) -> None:
    with pytest.raises(exceptions.BadConfiguration, match=option):
        Host(tmp_path, **settings).parts()


def test_the_stream_is_never_held_whole(host: Host) -> None:
    size, chunk = 96 << 20, bytes(1 << 20)
    alive, most = [0], [0]

    class Chunk(bytearray):
        def __init__(self) -> None:
            super().__init__(chunk)
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self) -> None:
            alive[0] -= 1

    def stream() -> Iterable[bytes]:
        return (Chunk() for _ in itertools.repeat(None, size // len(chunk)))

    with contextlib.suppress(exceptions.NoSpace):
        host.parts().images.add(hosts.new_id(), stream(), size, 'md5')
    assert most[0] <= 2
