# SPDX-License-Identifier: Apache-2.0
"""All locations of a host."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import threading

import pytest

from harness.host import Host
from tests.conftest import Forbid
from tests.unit.localstore.copies import lock_is_free
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store.localstore import attaching
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import store as local_store


@pytest.fixture
def tiers(tmp_path: pathlib.Path) -> local_store.LocalStore:
    """An HDD, an SSD and a staging location, in this order."""
    store = local_store.LocalStore(
        Host(tmp_path, 'hdd:h:1', 'ssd:s:1', 'staging:t:1').options.locations
    )
    store.attach([])
    return store


def stage_in(store: local_store.LocalStore) -> str:
    """Return the name of the location that is written first."""
    with store.stage(1) as staged:
        return os.path.basename(staged.paths.root)


def test_uploads_go_to_staging_first_then_where_most_is_free(
    tiers: local_store.LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {'h': 2 << 30, 's': 1 << 30, 't': 1 << 20}
    monkeypatch.setattr(
        fsutil,
        'free_bytes',
        lambda path: (free[os.path.basename(path)], 4 << 30),
    )
    assert stage_in(tiers) == 't'
    free['t'] = 0
    assert stage_in(tiers) == 'h'
    free['s'] = 3 << 30
    assert stage_in(tiers) == 's'
    free.update(h=0, s=0)
    with pytest.raises(exceptions.NoSpace, match='tmpl_store_locations'):
        stage_in(tiers)


def test_uploads_do_not_go_to_a_draining_location(
    tiers: local_store.LocalStore,
) -> None:
    staging_location = tiers.locations[2]
    staging_location.record = dataclasses.replace(
        staging_location.record, state=objects.DRAINING
    )
    assert stage_in(tiers) != 't'


def test_one_location_that_cannot_be_written_does_not_stop_uploads(
    tiers: local_store.LocalStore, forbid: Forbid
) -> None:
    for location in tiers.locations[1:]:
        forbid(pathlib.Path(location.paths.incoming))
    assert stage_in(tiers) == 'h'
    forbid(pathlib.Path(tiers.locations[0].paths.incoming))
    with pytest.raises(exceptions.WriteDenied):
        stage_in(tiers)


def test_locations_that_are_refused_are_tried_again(
    host: Host, tmp_path: pathlib.Path
) -> None:
    (tmp_path / 'b').write_text('in the way')
    store = local_store.LocalStore(host.options.locations)
    for _ in range(2):
        store.attach([])
        assert [each.paths.root for each in store.locations] == [
            str(tmp_path / 'a'),
            str(tmp_path / 'c'),
        ]
        (problem,) = store.refused
        assert str(tmp_path / 'b') in problem
    (tmp_path / 'b').unlink()
    store.attach([])
    healed = store.at(str(tmp_path / 'b'))
    assert store.refused == []
    assert store.get(healed.record.id) is healed


def test_the_log_tells_a_refusal_once(
    host: Host, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'b').write_text('in the way')
    store = local_store.LocalStore(host.options.locations)
    for _ in range(3):
        store.attach([])
    assert [record.levelname for record in caplog.records] == ['ERROR']


def test_locations_can_be_attached_by_two_threads_at_once(
    one_disk: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = local_store.LocalStore(one_disk.options.locations)
    meet = threading.Barrier(2)
    once = attaching.attach

    def attach_together(*args: object) -> local.LocalLocation:
        location = once(*args)  # type: ignore[arg-type]
        with contextlib.suppress(threading.BrokenBarrierError):
            meet.wait(0.3)  # in vain if only one at a time is let in
        return location

    monkeypatch.setattr(attaching, 'attach', attach_together)
    problems: list[Exception] = []

    def open_it() -> None:
        try:
            store.attach([])
        except Exception as exc:
            problems.append(exc)

    threads = [threading.Thread(target=open_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(store.locations) == 1


def test_a_location_is_usable_if_it_is_there_and_has_room(
    tiers: local_store.LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hdd, ssd, stage = tiers.locations
    usable = tiers.usable(100, stage.paths.incoming)
    assert usable(ssd.record)
    os.unlink(ssd.paths.marker)
    assert not usable(ssd.record)
    assert usable(hdd.record)
    monkeypatch.setattr(fsutil, 'free_bytes', lambda path: (99, 1000))
    assert usable(hdd.record), 'the bytes are on this file system already'
    monkeypatch.setattr(
        local.LocalLocation, 'shares_disk', lambda self, path: False
    )
    assert not usable(hdd.record)
    other = dataclasses.replace(hdd.record, id='other', node='other')
    assert usable(other), 'the other node has to see for itself'


def test_problems_name_every_location_that_cannot_be_used(
    host: Host, tmp_path: pathlib.Path
) -> None:
    (tmp_path / 'b').write_text('in the way')
    store = local_store.LocalStore(host.options.locations)
    store.attach([])
    (tmp_path / 'c' / 'location.json').unlink()
    refused, gone = store.problems()
    assert str(tmp_path / 'b') in refused
    assert str(tmp_path / 'c') in gone


def test_entries_of_a_location_are_found_whatever_they_are(
    tmp_path: pathlib.Path,
) -> None:
    where = layout.Paths(str(tmp_path))
    (tmp_path / 'templates' / 'ab' / 'copy').mkdir(parents=True)
    (tmp_path / 'templates' / 'zz' / 'else').mkdir(parents=True)
    (tmp_path / 'templates' / 'file').touch()
    assert where.entries() == [
        str(tmp_path / 'templates/ab/copy'),
        str(tmp_path / 'templates/zz/else'),
    ]


def test_a_lock_goes_with_the_process_that_held_it(
    tmp_path: pathlib.Path,
) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        lock = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(write, b'!')
        threading.Event().wait()
    assert os.read(read, 1) == b'!'
    assert not lock_is_free(tmp_path)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert lock_is_free(tmp_path)
    os.close(read)
    os.close(write)
