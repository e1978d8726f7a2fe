# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the local store."""

import pathlib

import pytest

from harness.host import Host
from tests.unit.localstore.copies import attach
from tmpl_glance_store.localstore import location as local


@pytest.fixture
def one_disk(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path, 'ssd:a')


@pytest.fixture
def location(one_disk: Host) -> local.LocalLocation:
    return attach(one_disk)
