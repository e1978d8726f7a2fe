# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, hang, are forbidden, or away."""

import os
import pathlib
import threading
from typing import Any

import pytest
from glance_store import exceptions

from harness import host as hosts
from harness.host import Host
from harness.host import at
from harness.host import download
from tests.conftest import Forbid
from tests.unit.driver.glance import DATA
from tests.unit.driver.glance import READ
from tests.unit.driver.glance import WRITE
from tests.unit.driver.glance import Unread
from tests.unit.driver.glance import upload
from tmpl_glance_store import driver
from tmpl_glance_store import fsutil


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
