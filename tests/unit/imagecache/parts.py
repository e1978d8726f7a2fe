# SPDX-License-Identifier: Apache-2.0
"""What several tests of this room make."""

import os
import pathlib

from tmpl_glance_store.imagecache import entries
from tmpl_glance_store.imagecache import ledger
from tmpl_glance_store.imagecache import ownership

NAME = 'a' * 40
DIGEST = 'd' * 64
STRANGER = 12345

#: What a test has opened; closed at its end, before others count descriptors.
opened = []


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self):
        return self.now


def owner_of(instances, **numbers):
    return ownership.Ownership(str(instances), **numbers)


def entry(path, **fields):
    """Return the entry of the base file that *path* is now."""
    path = pathlib.Path(path)
    found = os.lstat(path)
    return entries.Entry(
        **{
            'name': path.name,
            'image_id': 'image',
            'digest': DIGEST,
            'content': DIGEST,
            'size': found.st_size,
            'mode': 'reflink',
            'inode': found.st_ino,
            'made_at': 1.0,
            'directory': str(path.parent),
            'mount': '/',
            **fields,
        }
    )


def ledger_of(root, cache=None):
    return ledger.Ledger(str(root), str(cache or root))
