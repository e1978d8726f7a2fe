# SPDX-License-Identifier: Apache-2.0
"""Catalogs on SQLite, with handles of their own."""

import pytest

from tests.unit.catalog.support import NOW
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog import sqlite


@pytest.fixture
def make(tmp_path):
    """Open catalogs on handles of their own, all on the same data."""
    opened = []

    def make(cluster='blue', clock=lambda: NOW):
        store = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/c.sqlite')
        opened.append(domain.Catalog(store, cluster, clock))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def catalog(make):
    return make()


@pytest.fixture
def rival(make):
    """The catalog as another process sees it."""
    return make()
