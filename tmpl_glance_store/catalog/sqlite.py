# SPDX-License-Identifier: Apache-2.0
"""The key-value contract on SQLite: for the processes of one machine."""

import contextlib
import os
import sqlite3
import stat
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import contract

_BUSY_TIMEOUT = 30  # seconds that a writer waits for another process
_WATCH_INTERVAL = 0.2
_INHERITED: list[sqlite3.Connection] = []

_SCHEMA = (
    'CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, '
    'value BLOB NOT NULL, revision INTEGER NOT NULL, lease INTEGER) '
    'WITHOUT ROWID',
    'CREATE TABLE IF NOT EXISTS leases (id INTEGER PRIMARY KEY '
    'AUTOINCREMENT, ttl INTEGER NOT NULL, expires REAL NOT NULL)',
    'CREATE TABLE IF NOT EXISTS revisions (id INTEGER PRIMARY KEY '
    'CHECK (id = 0), last INTEGER NOT NULL)',
    'INSERT OR IGNORE INTO revisions VALUES (0, 0)',
)


def _create(db: sqlite3.Connection) -> None:
    """Make the tables, all or none."""
    deadline = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            db.execute('PRAGMA journal_mode = WAL')
            break
        except sqlite3.OperationalError:
            # This statement alone does not wait while another writes.
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
    db.execute('BEGIN IMMEDIATE')
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute('COMMIT')


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise exceptions.Unavailable(f'catalog {path}: {exc}') from exc


class SQLiteKeyValue(contract.KeyValue):
    """See the contract.

    :param url: ``sqlite:///<absolute path>``; the file is made if need be
    :raises BadConfiguration: if the URL has another form, or the file cannot
        be written
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if (
            parts.scheme != 'sqlite'
            or parts.netloc
            or parts.query
            or not parts.path.startswith('//')
        ):
            raise exceptions.BadConfiguration(
                f'tmpl_store_catalog: {url!r} is not sqlite:/// and an '
                f'absolute path, such as sqlite:////var/lib/tmpl/c.sqlite'
            )
        self._path = os.path.normpath(
            '/' + urllib.parse.unquote(parts.path).lstrip('/')
        )
        try:
            os.makedirs(os.path.dirname(self._path), 0o750, exist_ok=True)
            self._create_file()
        except OSError as exc:
            raise exceptions.BadConfiguration(
                f'tmpl_store_catalog: {exc}'
            ) from exc
        self._local = threading.local()
        self._require_database()

    def _create_file(self) -> None:
        # The tokens in it make location URLs unforgeable: not for others. But
        # for the group, where its directory is the group's: Glance and the
        # agent may be two users. SQLite gives its other files the same mode.
        # An existing file is not opened here: to close it would drop the
        # locks that SQLite has on it in this process (POSIX advisory locks).
        with contextlib.suppress(FileExistsError):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
            try:
                if os.stat(os.path.dirname(self._path)).st_mode & stat.S_IWGRP:
                    os.fchmod(fd, 0o660)
            finally:
                os.close(fd)
        # With capabilities, if the service has some.
        if not os.access(self._path, os.R_OK | os.W_OK, effective_ids=True):
            raise PermissionError(f'{self._path} cannot be written')

    def get(self, key: str) -> contract.Entry | None:
        with _translated(self._path):
            rows = (
                self._connection()
                .execute(
                    'SELECT key, value, revision FROM entries '
                    'LEFT JOIN leases ON lease = id WHERE key = ? AND '
                    '(lease IS NULL OR expires > ?)',
                    (key, time.time()),
                )
                .fetchall()
            )
        return contract.Entry(*rows[0]) if rows else None

    def list(self, prefix: str) -> list[contract.Entry]:
        with _translated(self._path):
            rows = (
                self._connection()
                .execute(
                    'SELECT key, value, revision FROM entries '
                    'LEFT JOIN leases ON lease = id '
                    'WHERE key >= ? AND key < ? AND '
                    '(lease IS NULL OR expires > ?) ORDER BY key',
                    (prefix, prefix + '\U0010ffff', time.time()),
                )
                .fetchall()
            )
        return [contract.Entry(*row) for row in rows]

    def commit(
        self,
        compares: Sequence[contract.Compare],
        writes: Sequence[contract.Put | contract.Delete],
    ) -> bool:
        with self._transaction() as db:
            self._expire(db)
            for compare in compares:
                row = db.execute(
                    'SELECT revision FROM entries WHERE key = ?',
                    (compare.key,),
                ).fetchone()
                if (row[0] if row else 0) != compare.revision:
                    return False
            if writes:
                self._write(db, writes)
            return True

    def grant(self, ttl: int) -> int:
        with self._transaction() as db:
            lease = db.execute(
                'INSERT INTO leases (ttl, expires) VALUES (?, ?)',
                (ttl, time.time() + ttl),
            ).lastrowid
            assert lease is not None
            return lease

    def keep_alive(self, lease: int) -> bool:
        with self._transaction() as db:
            self._expire(db)
            return (
                db.execute(
                    'UPDATE leases SET expires = ? + ttl WHERE id = ?',
                    (time.time(), lease),
                ).rowcount
                == 1
            )

    def revoke(self, lease: int) -> None:
        with self._transaction() as db:
            db.execute('UPDATE leases SET expires = 0 WHERE id = ?', (lease,))
            self._expire(db)

    def watch(self, prefix: str) -> contract.Watch:
        return _Watch(self)

    def close(self) -> None:
        pid, connection = self._current()
        if connection is not None and pid == os.getpid():
            connection.close()
            del self._local.current

    def _connection(self) -> sqlite3.Connection:
        # A connection must not be used by another thread, nor carried
        # across a fork (uWSGI forks after loading the application): SQLite
        # forbids even to close it there, so it is kept for ever.
        pid, connection = self._current()
        if connection is not None and pid == os.getpid():
            return connection
        if connection is not None:
            _INHERITED.append(connection)
        connection = self._connect()
        self._local.current = os.getpid(), connection
        return connection

    def _current(self) -> tuple[int, sqlite3.Connection | None]:
        """Return this thread's connection, and the process it belongs to."""
        current: tuple[int, sqlite3.Connection | None] = getattr(
            self._local, 'current', (0, None)
        )
        return current

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT, isolation_level=None
        )
        db.execute('PRAGMA synchronous = FULL')
        # Who only reads must not have to wait for who writes.
        if not db.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'revisions'"
        ).fetchone():
            _create(db)
        return db

    def _require_database(self) -> None:
        try:
            self._connection()
        except sqlite3.OperationalError:
            pass  # busy, or on a disk that is away: later calls try again
        except sqlite3.DatabaseError as exc:
            raise exceptions.BadConfiguration(
                f'tmpl_store_catalog: {self._path}: {exc}'
            ) from exc

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _translated(self._path):
            db = self._connection()
            db.execute('BEGIN IMMEDIATE')
            try:
                yield db
            except BaseException:
                db.execute('ROLLBACK')
                raise
            db.execute('COMMIT')

    @staticmethod
    def _expire(db: sqlite3.Connection) -> None:
        now = (time.time(),)
        gone = db.execute(
            'DELETE FROM entries WHERE lease IN '
            '(SELECT id FROM leases WHERE expires <= ?)',
            now,
        ).rowcount
        db.execute('DELETE FROM leases WHERE expires <= ?', now)
        if gone:
            db.execute('UPDATE revisions SET last = last + 1')

    @staticmethod
    def _write(
        db: sqlite3.Connection,
        writes: Sequence[contract.Put | contract.Delete],
    ) -> None:
        db.execute('UPDATE revisions SET last = last + 1')
        revision = db.execute('SELECT last FROM revisions').fetchone()[0]
        for write in writes:
            if isinstance(write, contract.Delete):
                db.execute('DELETE FROM entries WHERE key = ?', (write.key,))
                continue
            if (
                write.lease is not None
                and not db.execute(
                    'SELECT 1 FROM leases WHERE id = ?', (write.lease,)
                ).fetchone()
            ):
                raise exceptions.NotFound(f'lease {write.lease} has expired')
            db.execute(
                'INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)',
                (write.key, write.value, revision, write.lease),
            )

    def state(self) -> tuple[int, str]:
        """Return a value that differs after any change or expiry."""
        with _translated(self._path):
            state: tuple[int, str] = (
                self._connection()
                .execute(
                    'SELECT last, (SELECT group_concat(id) FROM leases '
                    'WHERE expires > ?) FROM revisions',
                    (time.time(),),
                )
                .fetchone()
            )
            return state


class _Watch(contract.Watch):
    """SQLite cannot call anyone across processes: look again and again."""

    def __init__(self, store: SQLiteKeyValue) -> None:
        self._store = store
        self._closed = threading.Event()
        self._seen = self._taken = store.state()

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not self._closed.is_set():
            state = self._store.state()
            if state != self._seen:
                self._seen = state
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._closed.wait(min(left, _WATCH_INTERVAL))
        return False

    def take(self) -> Sequence[contract.Change] | None:
        # What was deleted has left no trace; to list a local file is cheap.
        state = self._store.state()
        if state == self._taken:
            return ()
        self._taken = state
        return None

    def close(self) -> None:
        self._closed.set()
