# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage catalog check`` and ``catalog accept``."""

import pathlib
from collections.abc import Callable
from typing import Any

from tmpl_glance_store import layout
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import history
from tmpl_glance_store.localstore import memory

Run = Callable[..., Any]


def test_a_catalog_that_a_disk_knows_otherwise_is_doubted_until_accepted(
    run: Run, catalog: catalog_domain.Catalog, tmp_path: pathlib.Path
) -> None:
    catalog.history.begin()
    assert run('catalog', 'check')['relied_on'] is True
    memory.Memory(layout.Paths(str(tmp_path))).keep(
        history.Seen('another', 1_000_000)
    )
    checked = run('catalog', 'check')
    assert checked['relied_on'] is False
    assert 'another catalog' in checked['doubt']
    accepted = run('catalog', 'accept')
    assert accepted['epoch'] > 0
    assert accepted['store'] == checked['store']
    assert run('catalog', 'check')['relied_on'] is True


def test_bad_records_are_named(
    run: Run, catalog: catalog_domain.Catalog
) -> None:
    key = f'{catalog.records.state}/nodes/odd'
    catalog.records.store.commit([], [contract.Put(key, b'{')])
    (bad,) = run('catalog', 'check')['bad']
    assert bad.startswith(f'{key}: Node: ')
    assert run('node', 'list') == []


def test_who_only_looks_makes_no_catalog(
    run: Run, catalog: catalog_domain.Catalog, tmp_path: pathlib.Path
) -> None:
    catalog.close()
    for file in tmp_path.glob('catalog.sqlite*'):
        file.unlink()
    assert 'is not there yet' in run('node', 'list')
    assert not list(tmp_path.glob('catalog.sqlite*'))
