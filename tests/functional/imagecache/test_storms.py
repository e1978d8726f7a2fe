# SPDX-License-Identifier: Apache-2.0
"""Boots that wait for a template on its way, and go on in any case."""

import os
import pathlib
import signal
import time
from collections.abc import Callable

import pytest

from harness import agents
from harness import host as hosts
from harness.nova import Nova
from harness.waiting import eventually
from tests.functional import hostile
from tests.functional.imagecache.site import Site
from tmpl_glance_store.imagecache import states

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can mount disks and change owners'
)

MIB = 1 << 20


def test_boots_wait_for_a_template_on_its_way(
    storm: tuple[Site, str], tmp_path: pathlib.Path
) -> None:
    site, image_id = storm
    others = [Nova(site.nova.instances_path) for _ in range(4)]
    everybody = [site.nova, *(each.__enter__() for each in others)]
    try:
        for number, nova in enumerate(everybody):
            nova.begin_clones(
                image_id,
                *(f'vm{number}-{each}' for each in range(10)),
                source=tmp_path / '0.qcow2',
            )
        outcomes = [nova.end_clones() for nova in everybody]
    finally:
        for nova in others:
            nova.__exit__()
    assert [each['downloads'] for each in outcomes] == [0] * 5
    site.becomes(image_id, states.PUBLISHED)
    assert not site.state(image_id)['boots_wait']


def test_boots_wait_also_for_a_template_that_waits_for_another_one(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(
        start=False,
        lock_timeout=60,
        settings={'tmpl_store_download_limit': MIB, 'tmpl_store_transfers': 1},
    )
    source = site.cluster.node('node0', 'ssd:ssd:10').start()
    image_ids = [hosts.new_id() for _ in range(2)]
    for seed, image_id in enumerate(image_ids):
        data = hostile.harmless(tmp_path, seed)
        source.host.parts().images.add(image_id, [data], len(data), 'sha256')
    site.agent.start()
    assert eventually(
        lambda: all(site.state(each).get('boots_wait') for each in image_ids),
        agents.LONG,
    ), site.agent.log_tail()
    assert len(site.agent.status()['transfers']) == 1
    for seed, image_id in enumerate(image_ids):
        assert (
            site.nova.clone(
                image_id, image_id, source=tmp_path / f'{seed}.qcow2'
            )['downloads']
            == 0
        )


def test_boots_go_on_when_the_agent_dies(
    storm: tuple[Site, str], tmp_path: pathlib.Path
) -> None:
    site, image_id = storm
    site.nova.begin_clones(image_id, 'vm1', source=tmp_path / '0.qcow2')
    time.sleep(0.5)
    site.agent.kill()
    assert site.nova.end_clones()['downloads'] == 1
    site.agent.start()
    site.becomes(image_id, states.FOREIGN)


def test_boots_go_on_when_the_transfer_is_too_slow(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(
        start=False,
        lock_timeout=2,
        settings={'tmpl_store_download_limit': 100 << 10},
    )
    source = site.cluster.node('node0', 'ssd:ssd:10').start()
    image_id = hosts.new_id()
    data = hostile.harmless(tmp_path)
    source.host.parts().images.add(image_id, [data], len(data), 'sha256')
    site.agent.start()
    assert eventually(
        lambda: site.state(image_id).get('boots_wait'), agents.LONG
    )
    outcome = site.nova.clone(image_id, 'vm1', source=tmp_path / '0.qcow2')
    assert outcome['downloads'] == 1
    assert site.agent.transfer()
    # Nor does the agent keep them waiting once more.
    passes = site.agent.metric('agent_passes_total')
    assert eventually(
        lambda: site.agent.metric('agent_passes_total') > passes + 2,
        agents.LONG,
    )
    assert not site.state(image_id).get('boots_wait')


def test_boots_go_on_when_the_agent_hangs(
    storm: tuple[Site, str], tmp_path: pathlib.Path
) -> None:
    site, image_id = storm
    site.nova.begin_clones(image_id, 'vm1', source=tmp_path / '0.qcow2')
    site.agent.pause()
    site.agent.kill()  # as a watchdog would: also one that is stopped dies
    assert site.nova.end_clones()['downloads'] == 1


def test_a_signal_to_stop_lets_boots_go_on(
    storm: tuple[Site, str], tmp_path: pathlib.Path
) -> None:
    site, image_id = storm
    site.nova.begin_clones(image_id, 'vm1', source=tmp_path / '0.qcow2')
    os.kill(site.agent.pid, signal.SIGTERM)
    assert site.nova.end_clones()['downloads'] == 1
