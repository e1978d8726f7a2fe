# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of ``tmpl-manage`` in this process."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog import sqlite
from tmpl_glance_store.cmd import manage

CLUSTER = 'blue'


@pytest.fixture
def catalog(tmp_path: pathlib.Path) -> Any:
    """The catalog of the cluster that the commands look at."""
    store = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/catalog.sqlite')
    found = catalog_domain.Catalog(store, CLUSTER, lambda: 1000.0)
    yield found
    found.close()


@pytest.fixture
def run(
    catalog: catalog_domain.Catalog,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Any]:
    """Return a function that runs a command and returns what it says.

    That is parsed JSON, or its complaint if it fails.
    """
    config = tmp_path / 'tmpl.conf'
    config.write_text(
        '[tmpl]\n'
        f'tmpl_store_cluster = {CLUSTER}\n'
        'tmpl_store_node = n1\n'
        f'tmpl_store_catalog = sqlite:///{tmp_path}/catalog.sqlite\n'
        f'tmpl_store_locations = hdd:{tmp_path}\n'
    )

    def run(*words: str) -> Any:
        code = manage.main(
            ['--config-file', str(config), *words, '-f', 'json']
        )
        said = capsys.readouterr()
        return said.err if code else json.loads(said.out)

    return run
