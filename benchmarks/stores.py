# SPDX-License-Identifier: Apache-2.0
"""Stores to compare: ours and glance_store's ``file``, on one disk."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import glance_store
from glance_store import location
from oslo_config import cfg


def disk() -> str:
    """Return where to measure: $TMPL_BENCH_DIR (default: here)."""
    return os.environ.get('TMPL_BENCH_DIR', '.')


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """Give a directory on the disk to measure."""
    path = tempfile.mkdtemp(prefix='tmpl-bench-', dir=disk())
    try:
        yield os.path.abspath(path)
    finally:
        shutil.rmtree(path)


def build(root: str) -> tuple[cfg.ConfigOpts, dict[str, Any]]:
    """Return (configuration, {'tmpl': store, 'file': store}) below *root*."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    glance_store.register_opts(conf)
    conf.set_override('stores', ['file', 'tmpl'], 'glance_store')
    conf.set_override(
        'filesystem_store_datadir', f'{root}/file', 'glance_store'
    )
    conf.set_override(
        'tmpl_store_locations', [f'ssd:{root}/tmpl'], 'glance_store'
    )
    conf.set_override(
        'tmpl_store_catalog',
        f'sqlite:///{root}/catalog.sqlite',
        'glance_store',
    )
    glance_store.create_stores(conf)
    return conf, {
        name: location.SCHEME_TO_CLS_MAP[name]['store']
        for name in ('tmpl', 'file')
    }
