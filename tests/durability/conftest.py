# SPDX-License-Identifier: Apache-2.0
"""A host whose disks are in memory: thousands of starts, none that waits."""

import pathlib
import tempfile
from collections.abc import Iterator

import pytest

_MEMORY = pathlib.Path('/dev/shm')


@pytest.fixture
def root() -> Iterator[pathlib.Path]:
    """Return a directory that is gone when the test ends."""
    where = str(_MEMORY) if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix='tmpl-', dir=where) as path:
        root = pathlib.Path(path, 'host')
        root.mkdir()
        yield root
