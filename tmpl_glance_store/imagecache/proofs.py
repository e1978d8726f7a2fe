# SPDX-License-Identifier: Apache-2.0
"""What is to be proved again beside the copies: base files, conversions."""

import contextlib
import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping

from tmpl_glance_store import layout
from tmpl_glance_store.disk_images import derived
from tmpl_glance_store.imagecache import entries
from tmpl_glance_store.imagecache import ledger

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Proof:
    """A file that is due to be proved: its digest, and whom to tell."""

    path: str
    digest: str
    size: int
    tell: Callable[[bool], None]


def due(
    books: Mapping[str, ledger.Ledger],
    since: float,
    judge: Callable[[ledger.Ledger, entries.Entry, bool], None],
) -> Iterator[Proof]:
    """Yield the files that were proved before *since* only.

    A base file that is the copy itself, or its conversion, under another name
    is proved as that.

    :param books: the ledgers, by the directories of their locations
    :param since: seconds since the epoch
    :param judge: told of each base file whether it is good
    """
    for root, book in books.items():
        for entry in list(book.entries.values()):
            copy = layout.CopyPaths(layout.Paths(root).copy(entry.digest))
            if (
                entry.verified_at < since
                and not entry.damaged
                and _is_to_be_proved(entry, copy)
            ):
                yield Proof(
                    entry.path,
                    entry.content,
                    entry.size,
                    functools.partial(judge, book, entry),
                )
            yield from _due_conversion(copy, since)


def _due_conversion(copy: layout.CopyPaths, since: float) -> Iterator[Proof]:
    made = derived.find(copy)
    if made is not None and made.verified_at < since:
        yield Proof(
            copy.base,
            made.digest,
            made.size,
            functools.partial(_judge, copy, made),
        )


def _is_to_be_proved(entry: entries.Entry, copy: layout.CopyPaths) -> bool:
    try:
        return entry.is_there() and not _is_of(copy, entry.path)
    except OSError as exc:
        LOG.info('Not proved now: %s', exc)
        return False


def _judge(copy: layout.CopyPaths, made: derived.Derived, good: bool) -> None:
    if good:
        derived.record(
            copy, dataclasses.replace(made, verified_at=time.time())
        )
    else:
        LOG.error(
            'The conversion in %s is damaged: it is made anew when it is '
            'needed',
            copy.directory,
        )
        derived.discard(copy)


def _is_of(copy: layout.CopyPaths, path: str) -> bool:
    """Tell whether a base file is the image of a copy, or its raw form."""
    found = os.stat(path)
    for each in copy.image, copy.base:
        with contextlib.suppress(OSError):
            if os.path.samestat(found, os.stat(each)):
                return True
    return False
