# SPDX-License-Identifier: Apache-2.0
"""Catalogs on SQLite, with handles of their own."""

import pathlib
from collections.abc import Iterator

import pytest

from tests import facts
from tests.unit.catalog.doubts import Open
from tests.unit.catalog.spoiling import KEYS
from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tests.unit.catalog.support import announce
from tests.unit.catalog.support import image
from tests.unit.catalog.support import place_all
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog import history
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
    """A catalog that knows some locations, and nothing else."""
    catalog = make()
    place_all(catalog)
    return catalog


@pytest.fixture
def full(catalog):
    """A catalog with a record of each kind, and others beside each."""
    catalog.bindings.bind(image('one'), A, X)
    catalog.bindings.bind(image('two'), A, Y)
    catalog.bindings.pin(A.digest, True)
    catalog.bindings.bind(image('three', 'b'), B, X)
    catalog.bindings.unbind(image('three', 'b'))
    catalog.bindings.bind(image('four', 'c'), facts.template('c'), X)
    catalog.history.begin()
    announce(catalog, 'n')
    announce(catalog, 'n2')
    place = catalog.records.placement
    catalog.records.store.commit(
        [], [place.put(place._type(each, 'draining')) for each in (X, Y)]
    )
    assert {*KEYS} <= {e.key for e in catalog.records.store.list('/')}
    return catalog


@pytest.fixture
def rival(make):
    """The catalog as another process sees it."""
    return make()


@pytest.fixture
def memories() -> list[history.Seen]:
    """What the host remembers."""
    return []


@pytest.fixture
def open_catalog(
    tmp_path: pathlib.Path, memories: list[history.Seen]
) -> Iterator[Open]:
    """Return a function that opens the catalog in a file."""
    opened = []

    def open_catalog(name: str = 'c', now: float = NOW) -> domain.Catalog:
        store = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/{name}')
        opened.append(
            domain.Catalog(
                store, 'blue', lambda: now, memories=lambda: memories
            )
        )
        return opened[-1]

    yield open_catalog
    for each in opened:
        each.close()
