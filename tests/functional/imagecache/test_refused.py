# SPDX-License-Identifier: Apache-2.0
"""What would turn boots into errors, or worse, is not published."""

import os
import pathlib
from collections.abc import Callable

import pytest

from harness import agents
from harness import host as hosts
from harness.disks import Disks
from harness.disks import run
from tests.functional import hostile
from tests.functional.imagecache.site import Site
from tmpl_glance_store.imagecache import states

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can mount disks and change owners'
)

MIB = 1 << 20
STRANGER = 64199  # as libvirt-qemu, but known to no machine


def test_a_template_that_is_immutable_is_not_published(
    make_site: Callable[..., Site], disks: Disks, tmp_path: pathlib.Path
) -> None:
    disks.mount('node1', 'ext4')
    site = make_site(location='ssd:tmpl:10', start=False, publish='symlink')
    image_id = site.upload(hostile.harmless(tmp_path))
    image = site.copy() / 'image'
    published = tmp_path / 'node1/tmpl/published'
    run('chattr', '+i', image)
    try:
        site.agent.start()
        state = site.becomes(image_id, states.FAILED)
        assert 'symlink' in state['reason']
    finally:
        run('chattr', '-i', image)
    assert published.parent.is_dir()
    assert not os.path.lexists(site.nova.base_file(image_id))


def test_a_read_only_cache_is_reported(
    make_site: Callable[..., Site], disks: Disks, tmp_path: pathlib.Path
) -> None:
    disk = disks.mount('disk', 'ext4')
    site = make_site(disk / 'nova', start=False)
    site.nova.base.mkdir()
    run('mount', '-o', 'remount,ro', disk)
    site.agent.start()
    image_id = site.upload(hostile.harmless(tmp_path))
    state = site.becomes(image_id, states.FAILED)
    assert 'read-only' in state['reason']
    run('mount', '-o', 'remount,rw', disk)
    site.becomes(image_id, states.PUBLISHED)


@pytest.mark.parametrize('option', ['user', 'hypervisor_user'])
def test_who_cannot_reach_a_linked_template(
    make_site: Callable[..., Site],
    disks: Disks,
    tmp_path: pathlib.Path,
    option: str,
) -> None:
    site = make_site(
        disks.mount('disk', 'ext4') / 'nova', **{option: STRANGER}
    )
    image_id = site.upload(hostile.harmless(tmp_path))
    state = site.becomes(image_id, states.FAILED)
    assert f'{STRANGER} cannot enter' in state['reason']
    assert not os.path.lexists(site.nova.base_file(image_id))
    # The download that Nova makes instead is not in anybody's way.
    outcome = site.nova.clone(image_id, 'vm1', source=tmp_path / '0.qcow2')
    assert outcome['downloads'] == 1
    site.becomes(image_id, states.FOREIGN)


def test_no_hostile_template_is_published(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(force_raw=True)
    images = {
        name: site.upload(make(tmp_path))
        for name, make in hostile.HOSTILE.items()
    }
    for name, image_id in images.items():
        state = site.becomes(image_id, states.REFUSED)
        assert state['reason'], name
        assert not os.path.lexists(site.nova.base_file(image_id)), name
    assert site.agent.running
    assert peak_memory(site.agent) < 400 * MIB
    assert site.agent.metric('agent_base_files') == len(hostile.HOSTILE)
    metrics = site.agent.ask('/metrics').decode()
    records = site.agent.host.records('copies').values()
    assert all(
        f'reason="{record["refused"]}"' in metrics for record in records
    )
    assert all(record['refused'] for record in records)
    # A good one is not kept waiting by them, and Glance serves them all.
    site.publish(hostile.harmless(tmp_path, 1))
    for image_id in images.values():
        parts = site.agent.host.parts()
        image = hosts.url_of(parts, image_id)
        assert parts.images.size(image)


def test_a_disk_of_many_tebibytes_hinders_nobody(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(force_raw=True)
    run('qemu-img', 'create', '-f', 'qcow2', tmp_path / 'huge', '10T')
    huge = site.upload((tmp_path / 'huge').read_bytes())
    site.publish(hostile.harmless(tmp_path))
    site.becomes(huge, states.PUBLISHED)
    assert site.nova.base_file(huge).stat().st_size == 10 << 40


def peak_memory(agent: agents.Agent) -> int:
    """Return the most bytes that an agent's process has had in memory."""
    status = pathlib.Path(f'/proc/{agent.pid}/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) << 10
