# SPDX-License-Identifier: Apache-2.0
"""The file of the catalog: made, refused, taken away, replaced."""

import os
import sqlite3
import stat

import pytest

from tests.contract import keyvalue
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import sqlite
from tmpl_glance_store.catalog.contract import Put


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'catalog.sqlite'


@pytest.fixture
def url(path):
    return f'sqlite:///{path}'


@pytest.fixture
def store(url):
    store = sqlite.SQLiteKeyValue(url)
    yield store
    store.close()


@pytest.fixture
def umask():
    """Return a function that sets the umask until the test ends."""
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def every_call(store):
    """Return a call of each method."""
    return [
        lambda: store.get('/a'),
        lambda: store.get_all(['/a', '/b']),
        lambda: store.moment('/a'),
        lambda: store.list('/'),
        lambda: store.commit([], [Put('/a', b'2')]),
        lambda: store.grant(1),
        lambda: store.keep_alive(1),
        lambda: store.revoke(1),
        lambda: store.watch('/'),
    ]


@pytest.mark.parametrize('mask', [0, 0o022, 0o077, 0o027, 0o777])
@pytest.mark.parametrize(
    ('directory', 'mode'), [(0o750, 0o640), (0o770, 0o660), (0o2770, 0o660)]
)
def test_the_mode_of_the_files_follows_the_directory_alone(
    tmp_path, umask, mask, directory, mode
):
    (tmp_path / 'd').mkdir()
    (tmp_path / 'd').chmod(directory)
    umask(mask)
    store = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/d/c.sqlite')
    store.commit([], [Put('/a', b'1')])
    found = {
        each.name: stat.S_IMODE(each.stat().st_mode)
        for each in (tmp_path / 'd').iterdir()
    }
    assert found == dict.fromkeys(
        ('c.sqlite', 'c.sqlite-wal', 'c.sqlite-shm'), mode
    )
    store.close()


def test_a_directory_that_is_made_is_not_for_others(tmp_path, umask):
    umask(0)
    sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/d/c.sqlite').close()
    assert not stat.S_IMODE((tmp_path / 'd').stat().st_mode) & 0o027


def test_who_only_looks_makes_no_file(url, tmp_path):
    with pytest.raises(exceptions.BadConfiguration, match='is not there yet'):
        sqlite.SQLiteKeyValue(url, create=False)
    with pytest.raises(exceptions.BadConfiguration, match='is not there yet'):
        sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/no/c', create=False)
    assert list(tmp_path.iterdir()) == []
    store = sqlite.SQLiteKeyValue(url)
    store.commit([], [Put('/a', b'1')])
    other = sqlite.SQLiteKeyValue(url, create=False)
    assert other.get('/a').value == b'1'
    assert other.moment('/a') == store.moment('/a')
    other.close()
    store.close()


def test_a_file_that_was_deleted_is_told_and_not_made_anew(
    path, tmp_path, store
):
    store.commit([], [Put('/a', b'1')])
    path.rename(tmp_path / 'away')
    for call in every_call(store):
        with pytest.raises(exceptions.Unavailable, match='put a backup') as e:
            call()
        assert str(path) in str(e.value)
        assert not path.exists()


def test_every_thread_notices_a_deleted_file(path, tmp_path, store):
    keyvalue.in_threads(*[lambda: store.get('/a')] * 3)
    path.rename(tmp_path / 'away')

    def is_unavailable():
        try:
            store.commit([], [Put('/a', b'2')])
        except exceptions.Unavailable:
            return True
        return False

    assert keyvalue.in_threads(*[is_unavailable] * 3) == [True] * 3


def test_a_file_that_comes_back_goes_on(path, tmp_path, store):
    store.commit([], [Put('/a', b'1')])
    seen = store.get('/a')
    path.rename(tmp_path / 'away')
    with pytest.raises(exceptions.Unavailable):
        store.get('/a')
    (tmp_path / 'away').rename(path)
    assert store.get('/a') == seen
    assert store.commit([], [Put('/a', b'2')])


@pytest.fixture
def spare(tmp_path):
    """The file of another catalog, with the key /b."""
    store = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/spare')
    store.commit([], [Put('/b', b'1')])
    store.close()
    return tmp_path / 'spare'


def test_a_file_that_was_replaced_is_the_catalog_now(path, url, store, spare):
    store.commit([], [Put('/a', b'1')])
    watch = store.watch('/')
    before = store.moment('/a').identity
    for name in ('-wal', '-shm'):
        path.with_name(f'{path.name}{name}').unlink()
    spare.rename(path)
    assert watch.wait(0)
    assert watch.take() is None
    assert [each.key for each in store.list('/')] == ['/b']
    assert store.moment('/a').identity != before
    assert store.commit([], [Put('/c', b'1')])
    other = sqlite.SQLiteKeyValue(url)
    assert [each.key for each in other.list('/')] == ['/b', '/c']
    other.close()


def test_the_log_of_the_file_before_is_not_written_into_a_new_one(
    path, tmp_path, url, store, spare
):
    """SQLite cannot tell: it would bring the old catalog back."""
    store.commit([], [Put('/a', b'1')])
    spare.rename(path)
    before = path.read_bytes()
    for call in every_call(store):
        with pytest.raises(exceptions.Unavailable, match='was replaced') as e:
            call()
        assert f'{path}-wal' in str(e.value)
    with pytest.raises(exceptions.Unavailable, match='was replaced'):
        keyvalue.in_threads(lambda: store.get('/a'))
    assert path.read_bytes() == before
    for name in ('-wal', '-shm'):
        path.with_name(f'{path.name}{name}').unlink()
    assert [each.key for each in store.list('/')] == ['/b']


def test_a_new_file_has_another_identity(tmp_path):
    seen = set()
    for name in 'ab':
        store = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/{name}')
        seen.add(store.moment('/').identity)
        again = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/{name}')
        seen.add(again.moment('/').identity)
        again.close()
        store.close()
    assert len(seen) == 2


def test_a_catalog_of_the_first_layout_is_refused_in_a_sentence(path, url):
    old = sqlite3.connect(path)
    old.execute('CREATE TABLE revisions (last INTEGER NOT NULL)')
    old.commit()
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(
            exceptions.BadConfiguration, match='earlier version'
        ) as caught:
            sqlite.SQLiteKeyValue(url, create=create)
        assert str(path) in str(caught.value)
        assert 'remove it' in str(caught.value)
    old.close()
    assert path.read_bytes() == before
