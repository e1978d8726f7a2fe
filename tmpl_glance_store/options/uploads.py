# SPDX-License-Identifier: Apache-2.0
"""What an upload waits for, and how much of it is in memory."""

import dataclasses
from typing import Any

from oslo_config import cfg

from tmpl_glance_store import exceptions

OPTS = [
    cfg.IntOpt(
        'tmpl_store_min_copies',
        default=1,
        min=1,
        help="""
Number of nodes that must hold a copy on stable storage before an upload
succeeds.

1 is as safe as one disk: the other copies follow. Raise it if an image must
survive the loss of a disk from the moment that it turns active. It cannot
exceed ``tmpl_store_copies``, and a single machine has one node.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_write_timeout',
        default=120,
        min=1,
        help="""
Seconds without any progress of the disk, after which an upload is given up.

A disk that hangs would otherwise hold the upload's thread of glance-api for
ever. Raise it if the disks are known to pause for longer.
""",
    ),
]

#: After the options of the directories in the sample.
CHUNK_OPTS = [
    cfg.IntOpt(
        'tmpl_store_chunk_size',
        default=1 << 20,
        min=1,
        max=16 << 20,
        help="""
Bytes read from an upload at a time; downloads go in chunks of at most 256
KiB.

There is rarely a reason to change it. Memory in use per upload is bounded
whatever the value.
""",
    ),
]


@dataclasses.dataclass(frozen=True)
class Uploads:
    """How an upload is taken; ``write_timeout`` in seconds."""

    chunk_size: int
    write_timeout: int
    min_copies: int


def read(conf: Any) -> Uploads:
    """Return the checked options of uploads in the group *conf*.

    :raises BadConfiguration: if there can never be as many copies
    """
    if conf.tmpl_store_min_copies > conf.tmpl_store_copies:
        raise exceptions.BadConfiguration(
            f'tmpl_store_min_copies ({conf.tmpl_store_min_copies}) exceeds '
            f'tmpl_store_copies ({conf.tmpl_store_copies})'
        )
    return Uploads(
        chunk_size=conf.tmpl_store_chunk_size,
        write_timeout=conf.tmpl_store_write_timeout,
        min_copies=conf.tmpl_store_min_copies,
    )
