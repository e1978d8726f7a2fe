# SPDX-License-Identifier: Apache-2.0
"""What the tests of digests share."""

import hashlib
import random
import struct
import threading

from tmpl_glance_store import digests

MIB = 1 << 20
SLOW = 60  # seconds that a test would wait for what should happen at once


class Boom(Exception):
    pass


def ingest(chunks, *consumers, algorithm='sha512', timeout=SLOW, **seed):
    return digests.ingest(chunks, algorithm, consumers, timeout, **seed)


def pieces_root(data):
    """Return BEP 52's root of *data*, as simple as can be, in hex."""
    if not data:
        return bytes(32).hex()
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


def digest(data):
    """Return what identifies *data*, as simple as can be."""
    return hashlib.sha256(
        struct.pack('>Q', len(data)) + bytes.fromhex(pieces_root(data))
    ).hexdigest()


def same_root():
    """Return two contents of one root: a file, and its tree's upper row."""
    data = random.Random(52).randbytes(2 * 16384)
    halves = data[:16384], data[16384:]
    row = b''.join(hashlib.sha256(each).digest() for each in halves)
    return data, row


def lanes():
    return [t for t in threading.enumerate() if t.name == 'digests']
