# SPDX-License-Identifier: Apache-2.0
"""All ledgers of a node: one in each location that is there."""

import dataclasses
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping

from tmpl_glance_store import fsutil
from tmpl_glance_store.imagecache import ledger
from tmpl_glance_store.imagecache.entries import Entry

LOG = logging.getLogger(__name__)


class Books:
    """What is known of the base files that were made from here.

    A pass holds ``mutex``; who has proved a base file waits for it. Reading
    is free.

    :param cache: Nova's directory of base files
    """

    def __init__(self, cache: str) -> None:
        self._cache = cache
        self._ledgers: dict[str, ledger.Ledger] = {}
        self._unread: dict[str, str] = {}
        self.mutex = threading.RLock()

    @property
    def by_root(self) -> Mapping[str, ledger.Ledger]:
        """The ledgers, by the directories of their locations."""
        return dict(self._ledgers)

    def open(self, roots: Iterable[str]) -> None:
        """Know the ledgers of the locations in *roots*, and no others.

        One that cannot be read is tried again the next time; nothing is
        published from there meanwhile.
        """
        roots = set(roots)
        for root in self._ledgers.keys() - roots:
            del self._ledgers[root]
        for root in roots - self._ledgers.keys():
            try:
                self._ledgers[root] = ledger.Ledger(root, self._cache)
                self._unread.pop(root, None)
            except OSError as exc:
                self._say(root, str(exc))

    def find(self, name: str) -> Entry | None:
        """Return what is known of the base file *name* in Nova's directory."""
        for book in list(self._ledgers.values()):
            if (entry := book.entries.get(name)) is not None:
                return entry
        return None

    def of(self, root: str) -> ledger.Ledger | None:
        """Return the ledger of a location, None if it cannot be read."""
        return self._ledgers.get(root)

    def entries(self) -> Iterator[Entry]:
        """Yield what is known of the base files in Nova's directory."""
        for book in self._ledgers.values():
            yield from list(book.entries.values())

    def visible(self) -> Iterator[tuple[ledger.Ledger, Entry]]:
        """Yield the entries, of any directory, of which something is known.

        Nothing is, if the directory is not there, or its disk not mounted.
        """
        mounts: dict[str, str | None] = {}
        for book in self._ledgers.values():
            for entry in book.all():
                if entry.directory not in mounts:
                    mounts[entry.directory] = _mount_of(entry.directory)
                mount = mounts[entry.directory]
                if mount is not None and not entry.is_hidden(mount):
                    yield book, entry

    def judge(
        self, book: ledger.Ledger, entry: Entry, good: bool, now: float
    ) -> None:
        """Note whether a base file has been proved, or found damaged.

        :param now: seconds since the epoch
        :raises WriteDenied, NoSpace: if it cannot be noted
        """
        with self.mutex:
            if book.entries.get(entry.name) == entry and entry.is_there():
                book.write(
                    dataclasses.replace(
                        entry, verified_at=now, damaged=not good
                    )
                )

    def _say(self, root: str, problem: str) -> None:
        if self._unread.get(root) != problem:
            LOG.warning('Nothing is published from %s: %s', root, problem)
            self._unread[root] = problem


def _mount_of(directory: str) -> str | None:
    """Return where the file system of a directory begins, if it is there."""
    try:
        return (
            fsutil.mount_point(directory) if os.path.isdir(directory) else None
        )
    except OSError as exc:
        LOG.info('Nothing is known of %s now: %s', directory, exc)
        return None
