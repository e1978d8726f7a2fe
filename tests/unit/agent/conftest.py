# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of the agent."""

import pathlib

import pytest

from harness.host import Host
from tests.unit.agent.bench import Bench
from tests.unit.agent.scrubbing import ScrubBench
from tmpl_glance_store import factory


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Bench:
    """Two nodes of one cluster, with one SSD each, and a staging disk."""
    catalog_url = f'sqlite:///{tmp_path}/c.sqlite'
    nodes = []
    for name in 'n1', 'n2':
        node = Host(
            tmp_path / name,
            'ssd:ssd:10',
            'staging:up:10',
            tmpl_store_node=name,
            tmpl_store_catalog=catalog_url,
        )
        node.catalog_url = catalog_url
        nodes.append(node)
    return Bench(*nodes)


@pytest.fixture
def scrubs(host: Host, parts: factory.Parts) -> ScrubBench:
    """A scrubber beside a host with three disks."""
    return ScrubBench(host, parts)
