# SPDX-License-Identifier: Apache-2.0
"""Base files, and Nova's cache manager."""

import os
import pathlib
from collections.abc import Callable

import pytest

from harness import agents
from harness import host as hosts
from harness.disks import Disks
from harness.disks import run
from harness.waiting import eventually
from tests.functional import hostile
from tests.functional.imagecache.site import Site
from tmpl_glance_store.imagecache import states

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can mount disks and change owners'
)

MIB = 1 << 20


def test_what_is_touched_stays_and_what_is_wanted_comes_back(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(touch_interval=1)
    image_id = site.publish(hostile.harmless(tmp_path))
    base = site.nova.base_file(image_id)
    os.utime(base, (1, 1))
    assert eventually(lambda: base.stat().st_mtime > 1, agents.LONG)
    site.nova.age(maximum=3600)
    assert base.exists()
    site.nova.age(maximum=0)
    site.becomes(image_id, states.PUBLISHED)
    assert eventually(base.exists, agents.LONG)
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0


@pytest.mark.parametrize('publish', ['auto', 'symlink'])
def test_a_deleted_image_ages_out_and_its_clones_live(
    make_site: Callable[..., Site], tmp_path: pathlib.Path, publish: str
) -> None:
    site = make_site(publish=publish, touch_interval=1)
    image_id = site.publish(hostile.harmless(tmp_path))
    base = site.nova.base_file(image_id)
    site.nova.clone(image_id, 'vm1')
    site.delete(image_id)
    assert eventually(lambda: not site.agent.host.copies(), agents.LONG)
    # Nothing in _base is removed, the clone is whole, nobody touches it.
    disk = site.nova.instances_path / 'vm1' / 'disk'
    run('qemu-img', 'check', disk)
    run('qemu-img', 'compare', disk, tmp_path / '0.raw')
    os.utime(base, (1, 1))
    site.nova.age(maximum=3600, instances=[('vm1', image_id)])
    assert base.exists()  # Nova knows that it is in use
    os.utime(base, (1, 1))
    passes = site.agent.metric('agent_passes_total')
    assert eventually(
        lambda: site.agent.metric('agent_passes_total') > passes + 2,
        agents.LONG,
    )
    assert base.stat().st_mtime == 1
    disk.unlink()
    site.nova.age(maximum=3600)
    assert not os.path.lexists(base)
    # The last name of the content goes, and with it the space.
    assert eventually(
        lambda: not list((site.root / 'node1/ssd/published').iterdir()),
        agents.LONG,
    )


def test_what_nova_has_made_is_left_alone(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(start=False)
    image_id = site.upload(hostile.harmless(tmp_path))
    site.nova.clone(image_id, 'vm1', source=tmp_path / '0.qcow2')
    base = site.nova.base_file(image_id)
    os.utime(base, (1, 1))
    before = facts(base)
    site.agent.start()
    site.becomes(image_id, states.FOREIGN)
    passes = site.agent.metric('agent_passes_total')
    assert eventually(
        lambda: site.agent.metric('agent_passes_total') > passes + 1,
        agents.LONG,
    )
    assert facts(base) == before
    assert site.agent.metric('agent_base_files') == 1


def facts(path: pathlib.Path) -> tuple[int, ...]:
    """Return what changes of a file when somebody changes it."""
    found = path.stat()
    return (
        found.st_ino,
        found.st_mode,
        found.st_uid,
        found.st_size,
        found.st_nlink,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


def test_a_dangling_link_of_ours_leads_somewhere_again(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(publish='symlink')
    image_id = site.publish(hostile.harmless(tmp_path))
    base = site.nova.base_file(image_id)
    os.unlink(base.resolve())
    assert not base.exists()
    assert eventually(base.exists, agents.LONG)
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0


def test_a_link_into_a_disk_that_was_replaced_leads_somewhere_again(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(publish='symlink')
    image_id = site.publish(hostile.harmless(tmp_path))
    base = site.nova.base_file(image_id)
    site.agent.kill()
    ledger = pathlib.Path(os.readlink(base)).parent
    for each in ledger.iterdir():
        each.unlink()
    assert not base.exists()
    site.agent.start()
    site.becomes(image_id, states.PUBLISHED)
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0


def test_a_dangling_link_of_somebody_else_is_left_to_nova(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(start=False)
    image_id = site.upload(hostile.harmless(tmp_path))
    site.nova.base.mkdir()
    site.nova.base_file(image_id).symlink_to('/nowhere')
    site.agent.start()
    assert 'leads nowhere' in site.becomes(image_id, states.FOREIGN)['reason']
    assert os.readlink(site.nova.base_file(image_id)) == '/nowhere'


@pytest.mark.parametrize('publish', ['auto', 'copy'])
def test_what_clones_need_stays_while_novas_disk_is_not_mounted(
    make_site: Callable[..., Site],
    disks: Disks,
    tmp_path: pathlib.Path,
    publish: str,
) -> None:
    disk = disks.mount('disk', 'ext4')
    site = make_site(disk / 'nova', publish=publish, touch_interval=1)
    deleted = site.publish(hostile.harmless(tmp_path))
    lives = site.publish(hostile.harmless(tmp_path, 1))
    site.nova.clone(deleted, 'vm1')
    site.delete(deleted)
    for start_before in (False, True):
        if not start_before:
            site.agent.kill()
        run('umount', disk)
        (disk / 'nova').mkdir()  # as somebody has left it in the mount point
        if not start_before:
            site.agent.start()
        state = site.becomes(lives, states.FAILED)
        assert f'{disk} is not mounted' in state['reason']
        assert not list((disk / 'nova').iterdir())
        (disk / 'nova').rmdir()
        disks.remount('disk')
        site.becomes(lives, states.PUBLISHED)
        run('qemu-img', 'check', disk / 'nova' / 'vm1' / 'disk')
    os.utime(site.nova.base_file(lives), (1, 1))  # it is still ours
    assert eventually(
        lambda: site.nova.base_file(lives).stat().st_mtime > 1, agents.LONG
    )


def test_what_clones_need_stays_when_nova_moves(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(publish='symlink')
    image_id = site.publish(hostile.harmless(tmp_path))
    site.nova.clone(image_id, 'vm1')
    site.delete(image_id)
    site.agent.kill()
    other = tmp_path / 'other'
    other.mkdir()
    site.agent.nova['instances_path'] = other
    site.agent.start()
    passes = site.agent.metric('agent_passes_total')
    assert eventually(
        lambda: site.agent.metric('agent_passes_total') > passes + 1,
        agents.LONG,
    )
    run('qemu-img', 'check', site.nova.instances_path / 'vm1' / 'disk')
    # It goes with the base file, as ever.
    (site.nova.instances_path / 'vm1' / 'disk').unlink()
    site.nova.age(maximum=0)
    assert eventually(
        lambda: not list((site.root / 'node1/ssd/published').iterdir()),
        agents.LONG,
    )


def test_an_image_with_new_content_is_stale_until_nova_has_aged_it_out(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(touch_interval=1)
    image_id = site.publish(hosts.content(MIB, 1))
    site.delete(image_id)
    data = hosts.content(MIB, 2)
    site.agent.host.parts().images.add(image_id, [data], len(data), 'sha256')
    site.becomes(image_id, states.STALE)
    base = site.nova.base_file(image_id)
    os.utime(base, (1, 1))
    passes = site.agent.metric('agent_passes_total')
    assert eventually(
        lambda: site.agent.metric('agent_passes_total') > passes + 1,
        agents.LONG,
    )
    assert base.stat().st_mtime == 1
    assert not any(
        record['published']
        for record in site.agent.host.records('copies').values()
    )
    site.nova.age(maximum=3600)
    site.becomes(image_id, states.PUBLISHED)
    assert base.read_bytes() == data
