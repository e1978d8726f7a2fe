# SPDX-License-Identifier: Apache-2.0
"""The contract on SQLite, and what befalls one file."""

import os
import sqlite3
import subprocess
import sys

import pytest

from tests.contract import keyvalue
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import sqlite
from tmpl_glance_store.catalog.contract import Put


@pytest.fixture
def url(tmp_path):
    return f'sqlite:///{tmp_path}/catalog.sqlite'


@pytest.fixture
def store(url):
    store = sqlite.SQLiteKeyValue(url)
    yield store
    store.close()


@pytest.fixture
def impatient(monkeypatch):
    """Wait for nobody; to be asked for before ``store``."""
    monkeypatch.setattr(sqlite, '_BUSY_TIMEOUT', 0)


class TestSQLiteKeyValue(keyvalue.KeyValueContract):
    @pytest.fixture
    def make_store(self, url):
        return lambda: sqlite.SQLiteKeyValue(url)


def test_the_data_outlive_the_handle(url, store):
    store.commit([], [Put('/a', b'1')])
    seen = store.get('/a')
    store.close()
    assert sqlite.SQLiteKeyValue(url).get('/a') == seen


@pytest.mark.parametrize(
    'url',
    [
        'sqlite://relative.sqlite',
        'sqlite:///relative.sqlite',
        'sqlite:',
        'sqlite://host//a.sqlite',
        'sqlite:////a.sqlite?mode=ro',
        'etcd:////a.sqlite',
        '/a.sqlite',
        '',
    ],
)
def test_another_form_of_url_is_refused(url):
    with pytest.raises(exceptions.BadConfiguration, match='absolute path'):
        sqlite.SQLiteKeyValue(url)


def test_the_path_may_be_escaped_in_the_url(tmp_path):
    sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/my%20dir/c.sqlite')
    assert (tmp_path / 'my dir' / 'c.sqlite').is_file()


def test_a_path_that_cannot_be_made_is_a_bad_configuration(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(exceptions.BadConfiguration, match='tmpl_store_cata'):
        sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/file/c.sqlite')


def test_a_file_that_is_no_database_is_a_bad_configuration(tmp_path, url):
    (tmp_path / 'catalog.sqlite').write_bytes(b'not a database' * 100)
    with pytest.raises(exceptions.BadConfiguration, match='tmpl_store_cata'):
        sqlite.SQLiteKeyValue(url)


def test_a_file_that_is_no_database_any_more_is_unavailable(tmp_path, store):
    store.close()
    (tmp_path / 'catalog.sqlite').write_bytes(b'not a database' * 100)
    for call in (
        lambda: store.get('/a'),
        lambda: store.list('/'),
        lambda: store.commit([], [Put('/a', b'1')]),
        lambda: store.grant(1),
        lambda: store.keep_alive(1),
        lambda: store.revoke(1),
        lambda: store.watch('/'),
    ):
        with pytest.raises(exceptions.Unavailable, match=r'catalog\.sqlite'):
            call()


def test_a_catalog_that_stays_locked_is_unavailable_for_writers_only(
    impatient, tmp_path, store
):
    store.commit([], [Put('/a', b'1')])
    rival = sqlite3.connect(tmp_path / 'catalog.sqlite', isolation_level=None)
    rival.execute('BEGIN IMMEDIATE')
    with pytest.raises(exceptions.Unavailable, match='locked'):
        store.commit([], [Put('/a', b'2')])
    assert store.get('/a').value == b'1'
    rival.execute('ROLLBACK')
    rival.close()
    assert store.commit([], [Put('/a', b'2')])


def test_a_new_thread_reads_while_somebody_writes(impatient, tmp_path, store):
    store.commit([], [Put('/a', b'1')])
    rival = sqlite3.connect(tmp_path / 'catalog.sqlite', isolation_level=None)
    rival.execute('BEGIN IMMEDIATE')
    try:
        reader = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/catalog.sqlite')
        assert reader.get('/a').value == b'1'
    finally:
        rival.close()


def test_a_full_disk_is_unavailable_and_leaves_the_data_whole(store):
    store.commit([], [Put('/a', b'1')])
    db = store._connection()
    pages = db.execute('PRAGMA page_count').fetchone()[0]
    db.execute(f'PRAGMA max_page_count = {pages}')
    with pytest.raises(exceptions.Unavailable):
        store.commit([], [Put('/a', b'2'), Put('/b', b'x' * (1 << 20))])
    assert [e.value for e in store.list('/')] == [b'1']
    db.execute('PRAGMA max_page_count = 1000000')
    assert store.commit([], [Put('/b', b'x' * (1 << 20))])


def test_a_write_that_fails_midway_leaves_the_handle_usable(store):
    with pytest.raises(exceptions.Unavailable):
        store.commit([], [Put('/a', b'1'), Put('/b', object())])
    assert store.get('/a') is None
    assert store.commit([], [Put('/a', b'1')])


def test_many_processes_may_open_a_new_catalog_at_once(tmp_path, url):
    script = (
        'import sys\n'
        'from tmpl_glance_store.catalog import contract, sqlite\n'
        'store = sqlite.SQLiteKeyValue(sys.argv[1])\n'
        'sys.stdin.read()\n'
        'put = [contract.Put(f"/{sys.argv[2]}", b"1")]\n'
        'sys.exit(not store.commit([], put))\n'
    )
    children = [
        subprocess.Popen(
            [sys.executable, '-c', script, url, str(n)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    # All go on at about the same time, when their standard input ends.
    for child in children:
        child.stdin.close()
        child.stdin = None
    errors = [child.communicate(timeout=60)[1] for child in children]
    assert [c.returncode for c in children] == [0] * 4, errors
    assert [e.key for e in sqlite.SQLiteKeyValue(url).list('/')] == [
        '/0',
        '/1',
        '/2',
        '/3',
    ]


def test_many_threads_may_open_a_new_catalog_at_once(tmp_path):
    for number in range(5):
        store = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/{number}')
        assert all(
            keyvalue.in_threads(
                *[
                    lambda s=store, n=n: s.commit([], [Put(f'/{n}', b'')])
                    for n in range(8)
                ]
            )
        )
        assert len(store.list('/')) == 8


def test_a_child_uses_a_connection_of_its_own(store):
    store.commit([], [Put('/a', b'1')])
    inherited = store._connection()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if store._connection() is not inherited else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_commit_is_on_stable_storage(store):
    # 2 is FULL: with NORMAL, a power loss takes the last commits along.
    db = store._connection()
    assert db.execute('PRAGMA synchronous').fetchone() == (2,)
    assert db.execute('PRAGMA journal_mode').fetchone() == ('wal',)
