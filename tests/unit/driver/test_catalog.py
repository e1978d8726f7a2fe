# SPDX-License-Identifier: Apache-2.0
"""A catalog that is away."""

import pytest
from glance_store import exceptions

from harness import host as hosts
from harness.host import Host
from harness.host import at
from harness.host import download
from tests.unit.driver.glance import DATA
from tests.unit.driver.glance import WRITE
from tests.unit.driver.glance import Unread
from tests.unit.driver.glance import other
from tests.unit.driver.glance import upload
from tmpl_glance_store import digests
from tmpl_glance_store import driver
from tmpl_glance_store import exceptions as our_exceptions
from tmpl_glance_store.catalog import sqlite


def unreachable(*_: object, **__: object) -> None:
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
