# SPDX-License-Identifier: Apache-2.0
"""Records that are right, for tests that need some."""

import hashlib
from typing import Any

from tmpl_glance_store import merkle
from tmpl_glance_store import objects


def template(
    name: str = 'a', size: int = 5, **fields: Any
) -> objects.Template:
    """Return the facts of a content that is called *name*."""
    root = hashlib.sha256(name.encode()).digest()
    return objects.Template(
        **{
            'digest': merkle.identify(size, root),
            'root': root.hex(),
            'size': size,
            'position': 7,
            'checksum': 'c',
            'hashing_algo': 'sha512',
            'multihash': 'a',
            'piece_size': merkle.piece_size(size),
            'created_at': 1.0,
            **fields,
        }
    )


def digest(name: str = 'a', size: int = 5) -> str:
    """Return the digest of what :func:`template` calls *name*."""
    return template(name, size).digest


def token(name: str = '0') -> str:
    """Return a token."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
