# SPDX-License-Identifier: Apache-2.0
"""The raw form of a template, kept beside its copy, and what is known of it.

It has its own digest, since its bytes are others; without its record it is
nothing.
"""

import contextlib
import dataclasses
import os

from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store import schema
from tmpl_glance_store.schema import field

MODE = 0o444


@dataclasses.dataclass(frozen=True)
class Derived(schema.Record):
    """The record of a raw form.

    ``source`` is the digest of the template, ``digest`` that of the raw file,
    ``size`` its length in bytes; times are in seconds since the epoch.
    """

    source: str = field(schema.text(objects.DIGEST))
    digest: str = field(schema.text(objects.DIGEST))
    size: int = field(schema.whole())
    made_at: float = field(schema.number())
    verified_at: float = field(schema.number(), default=0.0)


def find(copy: layout.CopyPaths) -> Derived | None:
    """Return what the raw form of a copy is, None without one."""
    try:
        with open(copy.base_record, 'rb') as file:
            found = Derived.from_json(file.read())
        size = os.stat(copy.base).st_size
    except (OSError, ValueError):
        return None
    return found if size == found.size else None


def record(copy: layout.CopyPaths, what: Derived) -> None:
    """Note what the raw form of a copy is; durable when it returns."""
    fsutil.write_durably(copy.base_record, what.to_json(), MODE)


def discard(copy: layout.CopyPaths) -> None:
    """Remove a raw form, if there is one: it is made again if needed."""
    for path in copy.base_record, copy.base:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
