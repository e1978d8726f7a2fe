# SPDX-License-Identifier: Apache-2.0
"""A record of each kind, and each way to make it a bad one."""

import json

from tests.unit.catalog.support import ROOT
from tests.unit.catalog.support import STATE
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tmpl_glance_store.catalog.contract import Put

#: A good record of each kind is at one of these keys.
KEYS = (
    f'{ROOT}/images/one',
    f'{STATE}/claims/{A.digest}/one',
    f'{STATE}/copies/{X}/{A.digest}',
    f'{STATE}/deletions/{B.digest}',
    f'{STATE}/heads/{A.digest}',
    f'{STATE}/history/catalog',
    f'{STATE}/locations/{X}',
    f'{STATE}/nodes/n',
    f'{STATE}/pins/{A.digest}',
    f'{STATE}/placement/{X}',
    f'{STATE}/templates/{A.digest}',
)
WATCHED = [key for key in KEYS if key.startswith(STATE)]

#: What becomes of a good value.
BAD = {
    'is empty': lambda value: b'',
    'is not JSON': lambda value: b'{',
    'is not text': lambda value: b'\xff\xfe',
    'is no object': lambda value: b'[]',
    'nests too deep': lambda value: b'[' * 100_000,
    'is too large': lambda value: b' ' * (1 << 20) + value,
    'is newer': lambda value: with_field(value, 'version', 3),
    'is older': lambda value: with_field(value, 'version', 1),
    'has no version': lambda value: with_field(value, 'version', None),
    'has wrong types': lambda value: json.dumps(
        {**{key: {} for key in json.loads(value)}, 'version': 2}
    ).encode(),
}


def with_field(value, name, new):
    """Return a record with one of its fields replaced."""
    return json.dumps({**json.loads(value), name: new}).encode()


def spoil(catalog, key, how):
    """Make the record at *key* bad."""
    store = catalog.records.store
    store.commit([], [Put(key, BAD[how](store.get(key).value))])


def tables(catalog):
    """Return the tables, by the kind of their keys."""
    return {
        name: table
        for name, table in vars(catalog.records).items()
        if hasattr(table, 'name_in')
    }


def table_of(catalog, key):
    """Return the table with *key*, and the record's name in it."""
    for table in tables(catalog).values():
        if table.at(table.name_in(key)) == key and key != table.name_in(key):
            return table, table.name_in(key)
    raise AssertionError(key)
