# SPDX-License-Identifier: Apache-2.0
"""Nodes for the tests of the image cache."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import agents
from harness import host as hosts
from harness.nova import Nova
from harness.waiting import eventually
from tests.functional import hostile
from tests.functional.imagecache.site import Site

MIB = 1 << 20


@pytest.fixture
def make_site(tmp_path: pathlib.Path) -> Iterator[Callable[..., Site]]:
    """Make a node; *instances* and *location* are directories for it."""
    sites: list[Site] = []

    def make(
        instances: pathlib.Path | None = None,
        *,
        location: str = 'ssd:ssd:10',
        force_raw: bool = False,
        start: bool = True,
        settings: dict[str, Any] | None = None,
        **options: Any,
    ) -> Site:
        nova = Nova(
            instances or tmp_path / 'instances', force_raw=force_raw
        ).__enter__()
        cluster = agents.Cluster(tmp_path).__enter__()
        agent = cluster.node(
            'node1',
            location,
            nova={
                'instances_path': nova.instances_path,
                'force_raw': force_raw,
                # Whether this machine has libvirt must not matter.
                'hypervisor_user': 0,
                **options,
            },
            tmpl_store_interval=1,
            **(settings or {}),
        )
        site = Site(tmp_path, cluster, agent, nova)
        sites.append(site)
        if start:
            agent.start()
        return site

    yield make
    for site in sites:
        site.nova.__exit__()
        site.cluster.__exit__(None)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A node on whatever file system this is."""
    return make_site()


@pytest.fixture
def storm(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> tuple[Site, str]:
    """A node that a template is on its way to, and its image.

    It comes slowly: the other node sends half a MiB a second.
    """
    site = make_site(
        start=False,
        lock_timeout=60,
        settings={'tmpl_store_download_limit': MIB},
    )
    source = site.cluster.node('node0', 'ssd:ssd:10')
    source.start()
    image_id = hosts.new_id()
    data = hostile.harmless(tmp_path)
    source.host.parts().images.add(image_id, [data], len(data), 'sha256')
    site.agent.start()
    assert eventually(
        lambda: site.state(image_id).get('boots_wait'), agents.LONG
    ), site.agent.log_tail()
    return site, image_id
