# SPDX-License-Identifier: Apache-2.0
"""Fixtures of this room."""

import pytest

from tests.unit.imagecache import parts
from tests.unit.imagecache.parts import owner_of
from tmpl_glance_store.imagecache import linking


@pytest.fixture(autouse=True)
def close():
    """Close whatever a test leaves open."""
    yield
    while parts.opened:
        parts.opened.pop().close()


@pytest.fixture
def linker(tmp_path):
    def linker(publish, **options):
        return linking.Linker(
            str(tmp_path), publish, 0o644, owner_of(tmp_path), **options
        )

    return linker
