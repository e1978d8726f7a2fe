# SPDX-License-Identifier: Apache-2.0
"""What Glance hands to a store."""

import contextlib
import io
import os
import pathlib

from glance_store import capabilities

from harness import host as hosts
from tmpl_glance_store import driver

DATA = hosts.content((1 << 20) + 12345)
READ, WRITE = (
    capabilities.BitMasks.READ_ACCESS,
    capabilities.BitMasks.WRITE_ACCESS,
)


def upload(
    store: driver.Store, data: bytes = DATA, image_id: str | None = None
) -> str:
    """Add an image, and return its URL."""
    return store.add(
        image_id or hosts.new_id(), io.BytesIO(data), len(data), 'sha256'
    )[0]


class Unread(io.BytesIO):
    """A stream that must not be read."""

    def read(self, *_: object) -> bytes:
        raise AssertionError('the stream was read')


def open_files(below: pathlib.Path) -> list[str]:
    """Return the images that this process has open."""
    found = []
    for name in os.listdir('/proc/self/fd'):
        with contextlib.suppress(FileNotFoundError):
            path = os.readlink(f'/proc/self/fd/{name}')
            if path.startswith(str(below)) and '/image' in path:
                found.append(path)
    return found


def other(text: str) -> str:
    """Return text of the same form that is not the same."""
    return ('0' if text[0] != '0' else '1') + text[1:]
