# SPDX-License-Identifier: Apache-2.0
"""The files of mutual TLS."""

import pathlib

import pytest

from tmpl_glance_store import exceptions
from tmpl_glance_store import tls


def test_tls_needs_all_its_files() -> None:
    assert tls.Files.read(None, '', None) is None
    assert tls.Files.read('a', 'b', 'c') == tls.Files('a', 'b', 'c')
    with pytest.raises(
        exceptions.BadConfiguration, match=r'^tmpl_store_tls_key: not set'
    ):
        tls.Files.read('a', 'b', None)


def test_tls_files_that_cannot_be_used_are_named(
    tmp_path: pathlib.Path,
) -> None:
    files = tls.Files(*(str(tmp_path / name) for name in 'abc'))
    for make in tls.server, tls.client:
        with pytest.raises(
            exceptions.BadConfiguration, match='tmpl_store_tls_ca'
        ):
            make(files)
