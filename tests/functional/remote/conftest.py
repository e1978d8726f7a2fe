# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests here."""

from collections.abc import Iterator

import cheroot.server
import pytest

from harness import certificates
from tests.functional.remote.nodes import LARGE
from tests.functional.remote.nodes import SIZE
from tests.functional.remote.nodes import Node
from tests.functional.remote.nodes import Stored
from tests.functional.remote.nodes import store
from tmpl_glance_store import tls


@pytest.fixture(scope='module', autouse=True)
def _quick_stop() -> Iterator[None]:
    """Make cheroot look up from its selector more often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cheroot.server.HTTPServer, 'expiration_interval', 0.02)
        yield


@pytest.fixture(scope='module')
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return store(tmp_path_factory.mktemp('stored') / 'location', SIZE)


@pytest.fixture(scope='module')
def large(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return store(tmp_path_factory.mktemp('large') / 'location', LARGE)


@pytest.fixture(scope='module')
def node(stored: Stored) -> Iterator[Node]:
    with Node(stored.root) as running:
        yield running


@pytest.fixture(scope='module')
def authority(
    tmp_path_factory: pytest.TempPathFactory,
) -> certificates.Authority:
    return certificates.Authority(tmp_path_factory.mktemp('ca'))


@pytest.fixture(scope='module')
def foreigner(tmp_path_factory: pytest.TempPathFactory) -> tls.Files:
    """A certificate that another CA gave for every address used here."""
    foreign = certificates.Authority(tmp_path_factory.mktemp('ca'), 'foreign')
    return foreign.node('node1', tls.NODE, '127.0.0.1', '127.0.0.2')


@pytest.fixture(scope='module')
def files(authority: certificates.Authority) -> tls.Files:
    return authority.node(
        'node1', tls.NODE, '127.0.0.1', '127.0.0.2', 'localhost'
    )


@pytest.fixture(scope='module')
def secure_node(stored: Stored, files: tls.Files) -> Iterator[Node]:
    with Node(stored.root, files=files) as running:
        yield running
