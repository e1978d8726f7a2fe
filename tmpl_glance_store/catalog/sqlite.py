# SPDX-License-Identifier: Apache-2.0
"""The key-value contract on SQLite: for the processes of one machine."""

import contextlib
import functools
import os
import sqlite3
import stat
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import contract

_BUSY_TIMEOUT = 30  # seconds that a writer waits for another process
_WATCH_INTERVAL = 0.2
_INHERITED: list[sqlite3.Connection] = []
#: What tells a file from any other at its path: device and inode.
_File = tuple[int, int]
#: (process, connection, file) of a thread that has none.
_NOT_CONNECTED: tuple[int, sqlite3.Connection | None, _File] = (
    0,
    None,
    (0, 0),
)

_SCHEMA = (
    'CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, '
    'value BLOB NOT NULL, revision INTEGER NOT NULL, lease INTEGER) '
    'WITHOUT ROWID',
    'CREATE TABLE IF NOT EXISTS leases (id INTEGER PRIMARY KEY '
    'AUTOINCREMENT, ttl INTEGER NOT NULL, boot TEXT NOT NULL, '
    'expires REAL NOT NULL)',
    'CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY '
    'CHECK (id = 0), identity TEXT NOT NULL, last INTEGER NOT NULL)',
)
_SELECT = (
    'SELECT key, value, revision FROM entries LEFT JOIN leases ON lease = id '
    'WHERE (lease IS NULL OR (boot = ? AND expires > ?)) AND '
)
_MOST = 500  # variables in one statement


def _now() -> tuple[str, float]:
    """Return (boot, seconds since), by which leases are measured.

    Not by the time of day, which may jump by hours. What was before this
    boot of the machine is over.
    """
    return _boot(), time.clock_gettime(time.CLOCK_BOOTTIME)


@functools.cache
def _boot() -> str:
    with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as file:
        return file.read().strip()


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
    db.execute(
        'INSERT OR IGNORE INTO history VALUES (0, ?, 0)', (uuid.uuid4().hex,)
    )
    db.execute('COMMIT')


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise exceptions.Unavailable(f'catalog {path}: {exc}') from exc


def _identify(path: str) -> _File | None:
    """Return what tells the file from any other, None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class SQLiteKeyValue(contract.KeyValue):
    """See the contract.

    :param url: ``sqlite:///<absolute path>``
    :param create: whether the file may be made if need be; once it was there
        it is never made anew, since its disk may only be away
    :raises BadConfiguration: if the URL has another form, or the file cannot
        be written
    """

    CREATES = True

    def __init__(self, url: str, *, create: bool = True) -> None:
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
            if create:
                self._create_file()
            # With capabilities, if the service has some.
            if not os.access(
                self._path, os.R_OK | os.W_OK, effective_ids=True
            ):
                raise PermissionError(
                    f'{self._path} is not there yet, or cannot be written'
                )
        except OSError as exc:
            raise exceptions.BadConfiguration(
                f'tmpl_store_catalog: {exc}'
            ) from exc
        self._local = threading.local()
        #: The file that was opened last, and the log that goes with it.
        self._opened: tuple[_File, _File | None] | None = None
        self._require_database()

    def _create_file(self) -> None:
        # Not for others, but for the group, where its directory is the
        # group's: Glance and the agent may be two users. SQLite gives its
        # other files the same mode.
        # An existing file is not opened here: to close it would drop the
        # locks that SQLite has on it in this process (POSIX advisory locks).
        os.makedirs(os.path.dirname(self._path), 0o750, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
            try:
                directory = os.stat(os.path.dirname(self._path))
                is_shared = directory.st_mode & stat.S_IWGRP
                # Whatever the umask.
                os.fchmod(fd, 0o660 if is_shared else 0o640)
            finally:
                os.close(fd)

    def get(self, key: str) -> contract.Entry | None:
        return next(iter(self._select('key = ?', key)), None)

    def get_all(self, keys: Sequence[str]) -> list[contract.Entry]:
        found: list[contract.Entry] = []
        for start in range(0, len(keys), _MOST):
            some = keys[start : start + _MOST]
            marks = ', '.join('?' * len(some))
            found += self._select(f'key IN ({marks})', *some)
        return found

    def _select(self, condition: str, *values: str) -> list[contract.Entry]:
        with _translated(self._path):
            rows = (
                self._connection()
                .execute(_SELECT + condition, (*_now(), *values))
                .fetchall()
            )
        return [contract.Entry(*row) for row in rows]

    def list(self, prefix: str) -> list[contract.Entry]:
        return self._select(
            'key >= ? AND key < ? ORDER BY key', prefix, prefix + '\U0010ffff'
        )

    def moment(self, key: str) -> contract.Moment:
        with _translated(self._path):
            row = (
                self._connection()
                .execute('SELECT identity, last FROM history')
                .fetchone()
            )
        return contract.Moment(*row)

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
                'INSERT INTO leases (boot, expires, ttl) VALUES (?, ? + ?, ?)',
                (*_now(), ttl, ttl),
            ).lastrowid
            assert lease is not None
            return lease

    def keep_alive(self, lease: int) -> bool:
        with self._transaction() as db:
            self._expire(db)
            return (
                db.execute(
                    'UPDATE leases SET boot = ?, expires = ? + ttl '
                    'WHERE id = ?',
                    (*_now(), lease),
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
        pid, connection, _ = getattr(self._local, 'current', _NOT_CONNECTED)
        if pid == os.getpid() and connection is not None:
            connection.close()
            del self._local.current
            # The last connection takes the log along.
            self._opened = None

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection to the file that is there now.

        :raises Unavailable: if there is none: a thread that went on with one
            that was removed would write what nobody reads
        """
        # A connection must not be used by another thread, nor carried
        # across a fork (uWSGI forks after loading the application): SQLite
        # forbids even to close it there, so it is kept for ever.
        pid, connection, file = getattr(self._local, 'current', _NOT_CONNECTED)
        there = self._look()
        if pid != os.getpid() or file != there or connection is None:
            self._require_log_of(there)
            if connection is not None and pid != os.getpid():
                _INHERITED.append(connection)
            elif connection is not None:
                connection.close()
            connection = self._connect()
            self._local.current = os.getpid(), connection, there
            self._opened = there, _identify(self._log)
        return connection

    @property
    def _log(self) -> str:
        return f'{self._path}-wal'

    def _require_log_of(self, there: _File) -> None:
        """Make sure that the log is not that of a file of before.

        SQLite would write what is in it over the file that is *there* now.
        """
        file, log = self._opened or (there, None)
        if file != there and log is not None and log == _identify(self._log):
            raise exceptions.Unavailable(
                f'catalog {self._path} was replaced, and {self._log} belongs '
                f'to the one before: stop the services, remove it and '
                f'{self._path}-shm, put the file in its place again, and '
                f'start the services'
            )

    def _look(self) -> _File:
        """Return what tells the file from any other at its path."""
        try:
            found = os.stat(self._path)
        except OSError as exc:
            raise exceptions.Unavailable(
                f'catalog {self._path}: {exc.strerror}. If it was removed, '
                f'stop the services, put a backup in its place, without '
                f'{self._log} and {self._path}-shm, and start them; with no '
                f'file, they begin with an empty one'
            ) from exc
        return found.st_dev, found.st_ino

    def _connect(self) -> sqlite3.Connection:
        # Not made anew, which sqlite3 would do with a mode of its own.
        db = sqlite3.connect(
            f'file:{urllib.parse.quote(self._path)}?mode=rw',
            timeout=_BUSY_TIMEOUT,
            isolation_level=None,
            uri=True,
        )
        # A key that is not UTF-8 is nobody's, and stops nobody.
        db.text_factory = lambda data: data.decode(errors='surrogateescape')
        db.execute('PRAGMA synchronous = FULL')
        # Who only reads must not have to wait for who writes.
        tables = {
            name for (name,) in db.execute('SELECT name FROM sqlite_master')
        }
        if 'revisions' in tables:
            raise exceptions.BadConfiguration(
                f'tmpl_store_catalog: {self._path} was made by an earlier '
                f'version, which was never released, and is not read: remove '
                f'it, and upload the images anew'
            )
        if 'history' not in tables:
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
        gone = db.execute(
            'DELETE FROM entries WHERE lease IN '
            '(SELECT id FROM leases WHERE boot != ? OR expires <= ?)',
            _now(),
        ).rowcount
        db.execute(
            'DELETE FROM leases WHERE boot != ? OR expires <= ?', _now()
        )
        if gone:
            db.execute('UPDATE history SET last = last + 1')

    @staticmethod
    def _write(
        db: sqlite3.Connection,
        writes: Sequence[contract.Put | contract.Delete],
    ) -> None:
        db.execute('UPDATE history SET last = last + 1')
        revision = db.execute('SELECT last FROM history').fetchone()[0]
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

    def state(self) -> tuple[str, int, str]:
        """Return a value that differs after any change or expiry."""
        with _translated(self._path):
            state: tuple[str, int, str] = (
                self._connection()
                .execute(
                    'SELECT identity, last, (SELECT group_concat(id) FROM '
                    'leases WHERE boot = ? AND expires > ?) FROM history',
                    _now(),
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
