# SPDX-License-Identifier: Apache-2.0
"""The agent, killed while it publishes, at any moment; a lane of its own."""

import os
import pathlib
import random
import time
from collections.abc import Callable

import pytest

from harness import agents
from harness import host as hosts
from harness.waiting import eventually
from tests.functional import hostile
from tests.functional.imagecache.site import Site
from tmpl_glance_store.imagecache import states

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason='only root can mount disks'),
]

ROUNDS = 12


@pytest.mark.parametrize('publish', ['hardlink', 'symlink', 'copy'])
def test_a_storm_of_kills_leaves_whole_base_files_and_nothing_else(
    make_site: Callable[..., Site], tmp_path: pathlib.Path, publish: str
) -> None:
    site = make_site(
        start=False, force_raw=True, publish=publish, convert_concurrency=2
    )
    moment = random.Random(publish)
    images: dict[str, int] = {}
    for number in range(ROUNDS):
        site.agent.launch()
        images[site.upload(hostile.harmless(tmp_path, number))] = number
        if moment.random() < 0.3:
            victim = next(iter(images))
            site.delete(victim)
            del images[victim]
        time.sleep(moment.uniform(0, 2.5))
        site.agent.kill()
    site.agent.start()
    for image_id, number in images.items():
        site.becomes(image_id, states.PUBLISHED)
        base = site.nova.base_file(image_id)
        data = hosts.content(8 * hostile.MIB, number)
        assert base.read_bytes() == data.ljust(hostile.VIRTUAL, b'\0'), number
    assert not [
        each for each in site.nova.base.iterdir() if each.name.startswith('.')
    ]
    view = site.agent.host
    assert eventually(lambda: not view.disagreements(), agents.LONG), (
        view.disagreements()
    )
    names = [f'vm{number}' for number in images.values()]
    for name, image_id in zip(names, images, strict=True):
        assert site.nova.clone(image_id, name)['downloads'] == 0
