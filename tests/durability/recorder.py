# SPDX-License-Identifier: Apache-2.0
"""Notes every effect on a tree of files, as the kernel is asked for it."""

import contextlib
import fcntl
import functools
import os
import pathlib
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self
from unittest import mock

from tests.durability import model
from tmpl_glance_store.catalog import sqlite

#: Calls that change bytes, modes or names. What C code writes without them
#: (a buffered file, libtorrent) is found when the tree is looked at.
_CALLS = (
    'chmod',
    'copy_file_range',
    'fchmod',
    'ftruncate',
    'link',
    'mkdir',
    'open',
    'pwrite',
    'remove',
    'rename',
    'replace',
    'rmdir',
    'setxattr',
    'symlink',
    'truncate',
    'unlink',
    'write',
)
_SYNCS = ('fsync', 'fdatasync')
_RENAMES = ('rename', 'replace')


class Recorder:
    """Records from ``with`` on; ``instants`` is what it has seen.

    The looks at the tree go by names; files that have none are not seen.

    :param root: the tree; everything in it now is on stable storage
    :param catalog: prefix of the SQLite files in *root*, which count as they
        are committed: SQLite's own durability is not ours to prove
    """

    def __init__(self, root: pathlib.Path, catalog: pathlib.Path) -> None:
        self.instants: list[model.Instant] = []
        self._root = root
        self._catalog = catalog
        self._numbers: dict[int, int] = {}  # the kernel's -> ours
        self._count = 0
        self._now: dict[model.Slot, int] = {}
        self._entries: dict[model.Slot, int] = {}
        self._pending: list[model.Change] = []
        self._synced: dict[int, model.Node] = {}
        self._written: dict[int, model.Node] = {}
        self._promises: tuple[object, ...] = ()
        self._lock = threading.RLock()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._numbers[os.stat(self._root).st_ino] = 0
        self._look()
        self._entries = dict(self._now)
        self._synced = dict(self._written)
        self._pending.clear()
        self._note('the start')
        for name in (*_CALLS, *_SYNCS):
            self._patch(os, name, self._sync if name in _SYNCS else self._do)
        self._patch(fcntl, 'ioctl', self._do)
        self._patch(sqlite.SQLiteKeyValue, 'commit', self._do)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def promise(self, said: object) -> None:
        """Note what the product has just told its caller."""
        with self._lock:
            self._promises += (said,)
            self._note(f'promise {said}')

    # The calls

    def _patch(
        self, owner: Any, name: str, record: Callable[..., Any]
    ) -> None:
        real = getattr(owner, name)

        @functools.wraps(real)
        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                return record(name, real, arguments, named)

        self._stack.enter_context(mock.patch.object(owner, name, call))

    def _do(self, name: str, real: Any, arguments: Any, named: Any) -> Any:
        if name == 'open' and not arguments[1] & os.O_CREAT:
            return real(*arguments, **named)
        self._look()
        answer = real(*arguments, **named)
        if name in _RENAMES:
            self._look(moved=True)
        else:
            self._look()
        self._note(f'{name} {_short(arguments)}')
        return answer

    def _sync(self, name: str, real: Any, arguments: Any, named: Any) -> Any:
        """What *fd* is: nothing is waited for, only noted."""
        self._look()
        status = os.fstat(arguments[0])
        inode = self._numbers.get(status.st_ino)
        if inode is None:
            return
        if stat.S_ISDIR(status.st_mode):
            self._settle(inode)
        elif inode in self._written:
            self._synced[inode] = self._written[inode]
        self._note(f'{name} {self._path_of(inode)}')

    def _settle(self, directory: int) -> None:
        """Make the changes of a directory's entries last.

        A change goes as a whole, and with the earlier ones of its slots.
        """
        due = model.closure(
            self._pending,
            (
                at
                for at, change in enumerate(self._pending)
                if any(parent == directory for parent, _ in change)
            ),
        )
        for at in due:
            model.apply(self._pending[at], self._entries)
        self._pending = [
            change for at, change in enumerate(self._pending) if at not in due
        ]

    # The looks

    def _look(self, moved: bool = False) -> None:
        """Bring what is known in line with the tree.

        :param moved: the differences are one change: a rename
        """
        found: dict[model.Slot, int] = {}
        for directory, name, path in self._scan(self._root, 0):
            found[directory, name] = self._see(path)
        changes = {
            slot: found.get(slot)
            for slot in sorted(self._now.keys() | found.keys())
            if self._now.get(slot) != found.get(slot)
        }
        if moved:
            self._pending += [changes] if changes else []
        else:
            self._pending += [{slot: to} for slot, to in changes.items()]
        self._now = found
        # The kernel may give the number of what is gone to the next one.
        there = {0, *found.values()}
        self._numbers = {
            kernel: number
            for kernel, number in self._numbers.items()
            if number in there
        }

    def _scan(
        self, path: pathlib.Path | str, inode: int
    ) -> Iterator[tuple[int, str, str]]:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            here = os.path.join(path, name)
            if here.startswith(str(self._catalog)):
                continue
            yield inode, name, here
            if stat.S_ISDIR(os.lstat(here).st_mode):
                yield from self._scan(here, self._number(here))

    def _number(self, path: str) -> int:
        kernel = os.lstat(path).st_ino
        if kernel not in self._numbers:
            self._count += 1
            self._numbers[kernel] = self._count
        return self._numbers[kernel]

    def _see(self, path: str) -> int:
        """Take note of what *path* is now."""
        number, status = self._number(path), os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            self._written[number] = model.Directory()
            self._synced[number] = model.Directory()
        elif stat.S_ISLNK(status.st_mode):
            node = model.Link(os.readlink(path))
            self._written[number] = self._synced[number] = node
        else:
            with open(path, 'rb') as file:
                self._written[number] = model.File(
                    file.read(),
                    stat.S_IMODE(status.st_mode),
                    tuple(
                        (name, os.getxattr(path, name))
                        for name in os.listxattr(path)
                    ),
                )
        return number

    def _note(self, after: str) -> None:
        self.instants.append(
            model.Instant(
                after=after,
                entries=dict(self._entries),
                pending=tuple(self._pending),
                synced=dict(self._synced),
                written=dict(self._written),
                kernel={ours: its for its, ours in self._numbers.items()},
                catalog={
                    path.name: path.read_bytes()
                    for path in self._root.glob(f'{self._catalog.name}*')
                },
                promises=self._promises,
            )
        )

    def _path_of(self, inode: int) -> str:
        for (directory, name), each in self._now.items():
            if each == inode:
                return (
                    f'{self._path_of(directory)}/{name}' if directory else name
                )
        return '.'


def _short(arguments: tuple[Any, ...]) -> str:
    return ' '.join(
        each if isinstance(each, str) else type(each).__name__
        for each in arguments[:2]
    )
