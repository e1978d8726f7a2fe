# SPDX-License-Identifier: Apache-2.0
"""One Glance with several backends, for all the tests that need no other."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import pytest
import requests

from harness import disks as mounts
from harness import glance
from harness.host import Host
from harness.image_api import ImageClient

_HERE = pathlib.Path(__file__).parent
_TIMEOUT = 180  # seconds, for a test that does not say how long it takes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests that start servers more time than the unit tests."""
    for item in items:
        if _HERE in item.path.parents and not item.get_closest_marker(
            'timeout'
        ):
            item.add_marker(pytest.mark.timeout(_TIMEOUT))


@dataclasses.dataclass
class Site:
    """A running Glance, and the hosts behind its backends of type tmpl.

    One machine, but each backend has its own cluster, catalog and disks.
    """

    server: glance.GlanceServer
    fast: Host
    slow: Host
    full: Host
    files: pathlib.Path

    def dirty(self) -> list[str]:
        """Return the clusters of which anything is left."""
        return [
            host.options.cluster
            for host in (self.fast, self.slow, self.full)
            if not host.is_clean()
        ]


@pytest.fixture(scope='session')
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two tmpl backends, a third whose disk is full, and the file store."""
    root = tmp_path_factory.mktemp('site')
    # No disk is 95 % free: the third backend never has room.
    hosts = {
        name: Host(
            root / name, tmpl_store_cluster=name, tmpl_store_reserve=reserve
        )
        for name, reserve in (('fast', 0), ('slow', 0), ('full', 95))
    }
    files = root / 'files'
    server = glance.GlanceServer(
        root / 'glance',
        processes=2,
        threads=4,
        backends={**dict.fromkeys(hosts, 'tmpl'), 'files': 'file'},
        sections={
            'files': {'filesystem_store_datadir': files},
            **{name: host.settings for name, host in hosts.items()},
        },
    )
    with server:
        yield Site(server, files=files, **hosts)


@pytest.fixture
def user(site: Site) -> Iterator[Callable[..., ImageClient]]:
    """Make clients; in the end their images go, and all disks are clean."""
    clients: list[ImageClient] = []

    def make(name: str, role: str = 'member') -> ImageClient:
        clients.append(ImageClient(site.server, user=name, role=role))
        return clients[-1]

    yield make
    print(site.server.log_tail())  # pytest shows it for a test that failed
    for client in clients:
        for image_id in client.created:
            with contextlib.suppress(requests.HTTPError):
                client.delete(image_id)
    assert site.dirty() == []


@pytest.fixture
def images(user: Callable[..., ImageClient]) -> ImageClient:
    """The client of an admin."""
    return user('admin', 'admin')


@pytest.fixture
def disks(tmp_path: pathlib.Path) -> Iterator[mounts.Disks]:
    """Mount disks that are gone when the test ends."""
    if missing := mounts.missing():
        pytest.skip(f'there is no {", ".join(missing)}; see bindep.txt')
    with contextlib.ExitStack() as stack:
        yield mounts.Disks(tmp_path, stack)
