# SPDX-License-Identifier: Apache-2.0
"""What of this room is to be proved again: base files, and conversions."""

import contextlib
import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping

from tmpl_glance_store.disk_images import conversion
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
    judge: Callable[[ledger.Ledger, ledger.Entry, bool], None],
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
            copy = _copy(root, entry.digest)
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
            derived = conversion.find(copy)
            if derived is not None and derived.verified_at < since:
                yield Proof(
                    conversion.path_in(copy),
                    derived.digest,
                    derived.size,
                    functools.partial(_judge, copy, derived),
                )


def _is_to_be_proved(entry: ledger.Entry, copy: str) -> bool:
    try:
        return entry.is_there() and not _is_of(copy, entry.path)
    except OSError as exc:
        LOG.info('Not proved now: %s', exc)
        return False


def _judge(directory: str, derived: conversion.Derived, good: bool) -> None:
    if good:
        conversion.record(
            directory, dataclasses.replace(derived, verified_at=time.time())
        )
    else:
        LOG.error(
            'The conversion in %s is damaged: it is made anew when it '
            'is needed',
            directory,
        )
        conversion.discard(directory)


def _copy(root: str, digest: str) -> str:
    # As in localstore/paths.py, which is this room's neighbour.
    return os.path.join(root, 'templates', digest[:2], digest)


def _is_of(copy: str, path: str) -> bool:
    """Tell whether a base file is what is in the directory *copy*."""
    found = os.stat(path)
    for each in os.path.join(copy, 'image'), conversion.path_in(copy):
        with contextlib.suppress(OSError):
            if os.path.samestat(found, os.stat(each)):
                return True
    return False
