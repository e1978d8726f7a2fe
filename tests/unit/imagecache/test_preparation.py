# SPDX-License-Identifier: Apache-2.0
"""What is made before a template can be published."""

import os
import queue
import subprocess
import threading
import types

import pytest

from harness.host import content
from harness.host import digest_of
from tests.unit.disk_images.images import MIB
from tests.unit.disk_images.images import image
from tests.unit.imagecache.parts import Clock
from tmpl_glance_store import exceptions
from tmpl_glance_store import layout
from tmpl_glance_store.disk_images import conversion
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import preparation
from tmpl_glance_store.imagecache import prepared


def preparation_of(linker, clock=None, max_virtual_size=1 << 44):
    ended = queue.SimpleQueue()
    made = preparation.Preparation(
        force_raw=True,
        max_virtual_size=max_virtual_size,
        concurrency=1,
        linker=linker,
        ended=lambda: ended.put(None),
        clock=clock or Clock(),
    )
    return made, lambda: ended.get(timeout=30)


def held(path, image_format, has_room=True):
    """Return *path*, as if it were a copy in a location."""
    directory = path.parent / f'copy-{path.name}'
    directory.mkdir()
    path.rename(directory / layout.IMAGE)
    for each in layout.Paths(path.parent).incoming, path.parent / 'published':
        os.makedirs(each, exist_ok=True)
    return prepared.Held(
        types.SimpleNamespace(
            digest=digest_of(path.name.encode()), size=1, format=image_format
        ),
        ('image',),
        str(path.parent),
        str(directory),
        lambda size: has_room,
    )


def test_what_fails_is_tried_again_less_and_less_often(tmp_path, linker):
    clock = Clock()
    made, wait = preparation_of(linker('hardlink'), clock)
    full = held(image(tmp_path, 'qcow2'), 'qcow2', has_room=False)
    pauses = []
    for _ in range(8):
        assert made.get(full) is None
        wait()
        with pytest.raises(exceptions.NoSpace):
            made.get(full)
        pauses.append(made.next_change())
        clock.now += pauses[-1]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_a_copy_that_is_not_wanted_any_more_leaves_nothing(tmp_path, linker):
    links = linker('copy')
    made, wait = preparation_of(links)
    begun, go_on = threading.Event(), threading.Event()
    copy = links.copy

    def slow(source, check):
        made = copy(source, check)  # whole, but nobody knows of it yet
        begun.set()
        go_on.wait(30)
        return made

    links.copy = slow
    raw = tmp_path / 'raw'
    raw.write_bytes(content(MIB))
    assert made.get(held(raw, 'raw')) is None
    assert begun.wait(30)
    made.keep_only(())
    go_on.set()
    wait()
    assert not [
        each for each in tmp_path.iterdir() if each.name.startswith('.tmpl-')
    ]


def test_small_disks_go_before_large_ones(tmp_path, linker, monkeypatch):
    made, wait = preparation_of(linker('hardlink'))
    begun, go_on, order = threading.Event(), threading.Event(), []

    def convert(copy, *args, **kwargs):
        order.append(os.path.basename(copy.directory))
        begun.set()
        go_on.wait(30)
        raise exceptions.Unavailable('not now')

    monkeypatch.setattr(conversion, 'convert', convert)
    for name, size in (('first', '1G'), ('huge', '10T'), ('small', '1M')):
        path = tmp_path / name
        subprocess.run(
            ['qemu-img', 'create', '-q', '-f', 'qcow2', path, size], check=True
        )
        made.get(held(path, 'qcow2'))
        assert begun.wait(30)
    # All are inspected by one thread, in order: the last one is now.
    raw = tmp_path / 'raw'
    raw.write_bytes(b'x')
    last = held(raw, 'raw')
    while made.get(last) is None:
        wait()
    go_on.set()
    for _ in range(3):
        wait()
    assert order == ['copy-first', 'copy-small', 'copy-huge']


def test_a_disk_that_nova_would_refuse_names_the_option(tmp_path, linker):
    made, wait = preparation_of(linker('hardlink'), max_virtual_size=MIB)
    large = held(image(tmp_path, 'qcow2'), 'qcow2')
    assert made.get(large) is None
    wait()
    with pytest.raises(inspection.Refused, match='max_virtual_size'):
        made.get(large)
    assert made.next_change() is None  # it stays as large as it is


def test_a_disk_is_converted_once(tmp_path, linker):
    made, wait = preparation_of(linker('hardlink'))
    wanted = held(image(tmp_path, 'qcow2'), 'qcow2')
    assert made.get(wanted) is None
    wait()
    first = made.get(wanted)
    assert (first.path, first.converted) == (wanted.copy.base, True)
    made.keep_only(())
    assert made.progress(wanted.digest) is None
    assert made.get(wanted) is None
    wait()
    assert made.get(wanted) == first


def test_a_copy_for_nova_is_made_beside_its_base_files(tmp_path, linker):
    made, wait = preparation_of(linker('copy'))
    raw = tmp_path / 'raw'
    raw.write_bytes(content(MIB))
    wanted = held(raw, 'raw')
    assert made.get(wanted) is None
    wait()
    done = made.get(wanted)
    assert os.path.dirname(done.temporary) == str(tmp_path)
    assert done.way == 'copy'
    os.unlink(done.temporary)  # it was published: the next one is made anew
    assert made.get(wanted) is None
    wait()
    made.close()
    assert not [
        each for each in tmp_path.iterdir() if each.name.startswith('.tmpl-')
    ]


def test_what_nobody_foresaw_stops_nobody(tmp_path, linker, monkeypatch):
    def explode(*args):
        raise ZeroDivisionError('hostile')

    made, wait = preparation_of(linker('hardlink'))
    raw = tmp_path / 'raw'
    raw.write_bytes(b'x')
    wanted = held(raw, 'raw')
    monkeypatch.setattr(inspection, 'inspect', explode)
    made.get(wanted)
    wait()
    with pytest.raises(exceptions.Unavailable, match='ZeroDivisionError'):
        made.get(wanted)
