# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests here."""

import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

pytest.importorskip('libtorrent')

from harness import certificates
from harness.contents import Content
from harness.contents import content
from tests.functional.swarm.nodes import MIB
from tests.functional.swarm.nodes import Node
from tmpl_glance_store import tls
from tmpl_glance_store.swarm import metainfo


@pytest.fixture(scope='module')
def template() -> Content:
    return content(os.urandom(24 * MIB + 12345))


@pytest.fixture
def source(tmp_path: pathlib.Path, template: Content) -> Iterator[Node]:
    """A node that seeds the template."""
    template.write(tmp_path / 'source')
    with Node('127.0.0.2') as node:
        node.seed(template, tmp_path / 'source')
        yield node


@pytest.fixture
def target() -> Iterator[Node]:
    """A node that has nothing yet."""
    with Node('127.0.0.3') as node:
        yield node


@pytest.fixture(scope='module')
def authority(
    tmp_path_factory: pytest.TempPathFactory,
) -> certificates.Authority:
    return certificates.Authority(tmp_path_factory.mktemp('tls'))


@pytest.fixture(scope='module')
def files(authority: certificates.Authority) -> tls.Files:
    return authority.node('node', metainfo.NAME)


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of 8 MiB."""
    path = tmp_path / 'disk'
    path.mkdir()
    mount = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', path],
        capture_output=True,
    )
    if mount.returncode:
        pytest.skip('cannot mount a tmpfs')
    yield path
    subprocess.run(['umount', '-l', path], check=True)
