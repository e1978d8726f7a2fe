# SPDX-License-Identifier: Apache-2.0
"""What a disk remembers of the catalog, so that another one is noticed."""

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store import schema
from tmpl_glance_store.catalog import history

LOG = logging.getLogger(__name__)

_PAUSE = 60  # seconds between two writes, while only the revision grows


class Memory:
    """The file ``history.json`` of a location.

    It is a file of its own, beside the marker: what is written again and
    again must not be able to take that along.

    :param clock: as ``time.monotonic``
    """

    def __init__(
        self,
        where: layout.Paths,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = where.history
        self._clock = clock
        self._written_at: float | None = None
        self._stamp = self._look()
        self._seen = self._read()

    @property
    def seen(self) -> history.Seen | None:
        """What is remembered, also by another process; None if nothing."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp, self._seen = stamp, self._read()
        return self._seen

    @property
    def is_old(self) -> bool:
        """Whether it is time to write how far the catalog is."""
        return (
            self._written_at is None
            or self._clock() - self._written_at >= _PAUSE
        )

    def keep(self, seen: history.Seen) -> None:
        """Remember *seen*; a disk that cannot be written remembers nothing."""
        known = self.seen
        if seen == known or not self._is_due(seen):
            return
        if known is not None and known.doubt and seen.epoch <= known.epoch:
            return  # another process has found what is wrong with it
        try:
            with fsutil.os_errors():
                fsutil.write_durably(self._path, seen.to_json())
        except (exceptions.TmplError, OSError) as exc:
            LOG.debug('Not remembered: %s', exc)
            return
        self._stamp, self._seen = self._look(), seen
        self._written_at = self._clock()

    def _is_due(self, seen: history.Seen) -> bool:
        return (
            self.is_old
            or self._seen is None
            or dataclasses.replace(seen, revision=0)
            != dataclasses.replace(self._seen, revision=0)
        )

    def _look(self) -> tuple[int, int]:
        """Return what changes when somebody writes the file."""
        try:
            found = os.stat(self._path)
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def _read(self) -> history.Seen | None:
        try:
            with open(self._path, 'rb') as file:
                return history.Seen.from_json(file.read())
        except FileNotFoundError:
            return None
        except (OSError, schema.BadRecord) as exc:
            LOG.error('Nothing is remembered of the catalog: %s', exc)
            return None


def remembered(roots: Iterable[str]) -> list[history.Seen]:
    """Return what the disks of these locations remember, opened or not."""
    memories = (Memory(layout.Paths(root)).seen for root in roots)
    return [seen for seen in memories if seen is not None]
