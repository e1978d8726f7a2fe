# SPDX-License-Identifier: Apache-2.0
"""A location, and copies in it."""

import dataclasses
import pathlib

from harness import host as hosts
from harness.host import Host
from tmpl_glance_store import digests
from tmpl_glance_store import fsutil
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store.localstore import attaching
from tmpl_glance_store.localstore import location as local

DATA = hosts.content(3 * merkle.MIN_PIECE + 1)


def attach(
    host: Host, known: list[objects.Location] | None = None, **changes: object
) -> local.LocalLocation:
    """Open the host's first location, with other options."""
    options = dataclasses.replace(host.options.locations, **changes)
    return attaching.attach(options.specs[0], options, known or [])


def facts(data: bytes) -> tuple[objects.Template, bytes]:
    """Return what the digests of *data* say, as an upload does."""
    found = digests.ingest([data], 'sha512', [], 60)
    return objects.Template(
        digest=found.digest,
        root=found.root,
        size=found.size,
        position=found.position,
        checksum=found.checksum,
        hashing_algo='sha512',
        multihash=found.multihash,
        piece_size=found.piece_size,
        created_at=1.5,
    ), found.pieces


def place(location: local.LocalLocation, data: bytes = DATA) -> pathlib.Path:
    """Put a copy into the location, and return its directory."""
    template, pieces = facts(data)
    with location.stage() as staged:
        staged.write(data)
        staged.seal(template, pieces)
        assert staged.place(template.digest)
    return pathlib.Path(location.paths.copy(template.digest))


def lock_is_free(path: pathlib.Path) -> bool:
    """Whether nobody holds the lock of a directory."""
    lock = fsutil.lock_directory(str(path))
    if lock is None:
        return False
    lock.release()
    return True
