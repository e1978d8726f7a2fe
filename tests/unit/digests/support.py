# SPDX-License-Identifier: Apache-2.0
"""What the tests of digests share."""

import hashlib
import threading

from tmpl_glance_store import digests

MIB = 1 << 20
SLOW = 60  # seconds that a test would wait for what should happen at once


class Boom(Exception):
    pass


def ingest(chunks, *consumers, algorithm='sha512', timeout=SLOW):
    return digests.ingest(chunks, algorithm, consumers, timeout)


def pieces_root(data):
    """Return BEP 52's root of *data*, not empty, as simple as can be."""
    row = [
        hashlib.sha256(data[i : i + 16384]).digest()
        for i in range(0, len(data), 16384)
    ]
    while len(row) & (len(row) - 1):
        row.append(bytes(32))
    while len(row) > 1:
        row = [
            hashlib.sha256(a + b).digest()
            for a, b in zip(row[::2], row[1::2], strict=True)
        ]
    return row[0].hex()


def lanes():
    return [t for t in threading.enumerate() if t.name == 'digests']
