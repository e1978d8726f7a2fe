# SPDX-License-Identifier: Apache-2.0
"""Linked clones by Nova's own code, on base files that the agent published.

Real agents, real Nova (the image back ends, the locks, the cache manager, the
format inspector), real qemu-img and real file systems. Only Glance is
replaced: what is downloaded from it is counted, and should be nothing.
"""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import agents
from harness import host as hosts
from harness.disks import Disks
from harness.disks import run
from harness.etcd import eventually
from harness.nova import Nova
from tests.functional import hostile
from tmpl_glance_store import imagecache
from tmpl_glance_store.imagecache import states

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can mount disks and change owners'
)

MIB = 1 << 20
GIB = 1 << 30
STRANGER = 64199  # as libvirt-qemu, but known to no machine


@dataclasses.dataclass
class Site:
    """A compute node: its agent, its Nova, and the cluster around it."""

    root: pathlib.Path
    cluster: agents.Cluster
    agent: agents.Agent
    nova: Nova

    def upload(self, data: bytes) -> str:
        """Upload an image as Glance would; return its id."""
        image_id = hosts.new_id()
        self.agent.host.repository().add(image_id, [data], len(data), 'sha256')
        return image_id

    def delete(self, image_id: str) -> None:
        """Delete an image as Glance would."""
        repo = self.agent.host.repository()
        image = repo.catalog.image(image_id)
        repo.remove(image_id, image.digest, image.token)

    def state(self, image_id: str) -> dict[str, Any]:
        """Return what the agent says of an image."""
        return next(
            (
                each
                for each in self.agent.status()['images']
                if each['image'] == image_id
            ),
            {'state': None},
        )

    def becomes(self, image_id: str, state: str) -> dict[str, Any]:
        """Wait until the agent says that an image is in a state."""
        assert eventually(
            lambda: self.state(image_id)['state'] == state, agents.LONG
        ), (self.state(image_id), state)
        return self.state(image_id)

    def publish(self, data: bytes) -> str:
        """Upload an image, and wait for its base file."""
        image_id = self.upload(data)
        self.becomes(image_id, states.PUBLISHED)
        return image_id

    def copy(self) -> pathlib.Path:
        """Return the directory of the only copy."""
        (copy,) = self.agent.host.copies()
        return copy


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


def chain(disk: pathlib.Path) -> list[str]:
    """Return the files that a disk consists of, the disk first."""
    answer = subprocess.run(
        ['qemu-img', 'info', '--backing-chain', '--output=json', disk],
        check=True,
        capture_output=True,
    ).stdout
    return [each['filename'] for each in json.loads(answer)]


# Publishing


def test_a_clone_of_a_published_base_downloads_nothing(
    site: Site, tmp_path: pathlib.Path
) -> None:
    image_id = site.publish(hostile.harmless(tmp_path))
    outcome = site.nova.clone(image_id, 'vm1', 'vm2', size=GIB)
    assert outcome['downloads'] == 0
    assert chain(site.nova.instances_path / 'vm1' / 'disk') == [
        str(site.nova.instances_path / 'vm1' / 'disk'),
        str(site.nova.base_file(image_id)),
    ]
    assert eventually(
        lambda: site.state(image_id)['instances'] == ['vm1', 'vm2'],
        agents.LONG,
    )


def test_two_images_of_one_template_have_a_base_file_each(
    site: Site, tmp_path: pathlib.Path
) -> None:
    data = hostile.harmless(tmp_path)
    for image_id in (site.publish(data), site.publish(data)):
        assert site.nova.clone(image_id, image_id)['downloads'] == 0
    (record,) = site.agent.host.records('copies').values()
    assert len(record['published']) == 2


@pytest.mark.parametrize(
    ('kind', 'publish', 'expected'),
    [
        ('xfs', 'auto', 'reflink'),
        ('xfs', 'hardlink', 'hardlink'),
        ('xfs', 'symlink', 'symlink'),
        ('xfs', 'copy', 'copy'),
        ('ext4', 'auto', 'hardlink'),
        ('ext4', 'copy', 'copy'),
    ],
)
def test_each_way_to_publish_serves_clones_and_survives_libvirt(
    make_site: Callable[..., Site],
    disks: Disks,
    tmp_path: pathlib.Path,
    kind: str,
    publish: str,
    expected: str,
) -> None:
    disk = disks.mount('node1', kind)
    site = make_site(
        disk / 'nova',
        location='ssd:tmpl:10',
        publish=publish,
        touch_interval=1,
    )
    image_id = site.publish(hostile.harmless(tmp_path))
    assert site.state(image_id)['mode'] == expected
    base = site.nova.base_file(image_id)
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0
    # As libvirt does it when a guest starts, through links too.
    os.chown(base, STRANGER, STRANGER)
    os.utime(base, (1, 1))
    assert eventually(lambda: base.stat().st_mtime > 1, agents.LONG)
    site.agent.kill()
    os.utime(base, (1, 1))
    site.agent.start()
    site.becomes(image_id, states.PUBLISHED)
    assert eventually(lambda: base.stat().st_mtime > 1, agents.LONG)
    assert site.nova.clone(image_id, 'vm2')['downloads'] == 0


@pytest.mark.parametrize('publish', ['auto', 'copy'])
def test_a_base_file_on_another_disk(
    make_site: Callable[..., Site],
    disks: Disks,
    tmp_path: pathlib.Path,
    publish: str,
) -> None:
    site = make_site(disks.mount('disk', 'ext4') / 'nova', publish=publish)
    image_id = site.publish(hostile.harmless(tmp_path))
    expected = {'auto': 'symlink', 'copy': 'copy'}[publish]
    assert site.state(image_id)['mode'] == expected
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0
    assert not [
        each for each in site.nova.base.iterdir() if each.name.startswith('.')
    ]


@pytest.mark.parametrize(
    ('kind', 'expected'), [('xfs', 'reflink'), ('ext4', 'copy')]
)
def test_complete_clones_are_made_from_base_files_that_are_no_links(
    make_site: Callable[..., Site],
    disks: Disks,
    tmp_path: pathlib.Path,
    kind: str,
    expected: str,
) -> None:
    disk = disks.mount('node1', kind)
    site = make_site(disk / 'nova', location='ssd:tmpl:10', images_type='flat')
    data = hosts.content(3 * MIB)
    image_id = site.publish(data)
    assert site.state(image_id)['mode'] == expected
    base = site.nova.base_file(image_id)
    assert (base.stat().st_nlink, base.stat().st_mode & 0o777) == (1, 0o644)
    outcome = site.nova.clone(
        image_id, 'vm1', 'vm2', backend='Flat', disk_format='raw', size=4 * MIB
    )
    assert outcome['downloads'] == 0
    clone = site.nova.instances_path / 'vm1' / 'disk'
    assert clone.read_bytes() == data.ljust(4 * MIB, b'\0')
    assert base.read_bytes() == data


def test_links_of_before_do_not_serve_complete_clones(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(touch_interval=1)
    image_id = site.publish(hostile.harmless(tmp_path))
    assert site.state(image_id)['mode'] == 'hardlink'
    site.agent.kill()
    site.agent.nova['images_type'] = 'raw'
    site.agent.start()
    assert 'hardlink' in site.becomes(image_id, states.FAILED)['reason']
    site.nova.age(maximum=0)  # it is not touched any more
    site.becomes(image_id, states.PUBLISHED)
    assert site.state(image_id)['mode'] == 'copy'


def test_a_base_file_that_outlives_its_image_is_shown_with_its_instances(
    site: Site, tmp_path: pathlib.Path
) -> None:
    image_id = site.publish(hostile.harmless(tmp_path))
    site.nova.clone(image_id, 'vm1')
    site.delete(image_id)
    state = site.becomes(image_id, states.LEFT)
    assert state['instances'] == ['vm1']
    assert eventually(
        lambda: (
            site.state(image_id)['state'] == states.LEFT
            and not site.agent.host.copies()
        ),
        agents.LONG,
    )


def test_a_reflink_takes_no_space(
    make_site: Callable[..., Site], disks: Disks
) -> None:
    disk = disks.mount('node1', 'xfs')
    site = make_site(disk / 'nova', location='ssd:tmpl:10')
    before = disk_use(disk)
    image_id = site.publish(hosts.content(32 * MIB))
    assert site.state(image_id)['mode'] == 'reflink'
    assert disk_use(disk) - before < 40 * MIB
    # A complete clone as well: Nova copies by cp, which makes a reflink.
    outcome = site.nova.clone(image_id, 'vm1', backend='Flat', size=GIB)
    assert outcome['downloads'] == 0
    assert disk_use(disk) - before < 40 * MIB


def disk_use(path: pathlib.Path) -> int:
    """Return the bytes in use on a disk, what is to be written included."""
    os.sync()
    stats = os.statvfs(path)
    return (stats.f_blocks - stats.f_bfree) * stats.f_frsize


def test_nova_wants_raw(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(force_raw=True)
    image_id = site.publish(hostile.harmless(tmp_path))
    base = site.nova.base_file(image_id)
    assert site.state(image_id)['converted']
    assert base.read_bytes() == hosts.content(8 * MIB, 0).ljust(
        hostile.VIRTUAL, b'\0'
    )
    assert base.stat().st_blocks * 512 < 12 * MIB  # sparse
    derived = json.loads((site.copy() / 'base.json').read_text())
    assert derived['digest'] == hosts.digest_of(base.read_bytes())
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0
    # Once a node and template.
    made = (site.copy() / 'base.raw').stat().st_ino
    site.publish(b''.join([(tmp_path / '0.qcow2').read_bytes()]))
    assert (site.copy() / 'base.raw').stat().st_ino == made


def test_novas_own_configuration_is_read(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    conf = tmp_path / 'nova.conf'
    conf.write_text(
        f'[DEFAULT]\nstate_path = {tmp_path}\nforce_raw_images = False\n'
        f'[image_cache]\nsubdirectory_name = base\n'
    )
    site = make_site(start=False)
    site.agent.nova = {'nova_config_file': conf}
    site.agent.start()
    image_id = site.publish(hostile.harmless(tmp_path))
    assert site.state(image_id)['base_file'] == str(
        tmp_path / 'instances' / 'base' / imagecache.base_name(image_id)
    )
    assert not site.state(image_id)['converted']


# Nova's cache manager


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
    site.agent.host.repository().add(image_id, [data], len(data), 'sha256')
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


# What would turn boots into errors


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


# Hostile templates


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
        repo = site.agent.host.repository()
        image = repo.catalog.image(image_id)
        assert repo.size(image_id, image.digest, image.token)


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


# Boot storms


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
    source.host.repository().add(image_id, [data], len(data), 'sha256')
    site.agent.start()
    assert eventually(
        lambda: site.state(image_id).get('boots_wait'), agents.LONG
    ), site.agent.log_tail()
    return site, image_id


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
        source.host.repository().add(image_id, [data], len(data), 'sha256')
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
    source.host.repository().add(image_id, [data], len(data), 'sha256')
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


# Hosts that hold no copy


def owned_elsewhere(
    site: Site, tmp_path: pathlib.Path
) -> tuple[agents.Agent, str, str]:
    """Upload an image that falls to another node; start both agents.

    :returns: the other node, the image's id, the template's digest
    """
    # All but all of the hash space is the other node's.
    owner = site.cluster.node(
        'node0', 'ssd:ssd:1000000', tmpl_store_copies=1
    ).start()
    site.agent.start()
    assert eventually(
        lambda: site.cluster.live(site.agent, owner), agents.LONG
    )
    image_id, data = hosts.new_id(), hostile.harmless(tmp_path)
    owner.host.repository().add(image_id, [data], len(data), 'sha256')
    digest = hosts.digest_of(data)
    site.cluster.wait_for_holders(digest, 'node0')
    assert not site.agent.host.copies(digest)
    return owner, image_id, digest


def begin_download(site: Site, image_id: str) -> None:
    """Do what Nova does first when it downloads a base file."""
    site.nova.base.mkdir(exist_ok=True)
    site.nova.base_file(image_id).with_suffix('.part').touch()


def test_a_boot_elsewhere_brings_a_copy_into_the_cache(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(
        start=False, fetch_on_boot=True, settings={'tmpl_store_copies': 1}
    )
    _, image_id, digest = owned_elsewhere(site, tmp_path)
    begin_download(site, image_id)
    assert eventually(lambda: site.agent.host.copies(digest), agents.LONG)
    site.nova.base_file(image_id).with_suffix('.part').unlink()
    site.becomes(image_id, states.PUBLISHED)
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0


def test_a_boot_of_novas_own_brings_a_copy_into_the_cache(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(
        start=False, fetch_on_boot=True, settings={'tmpl_store_copies': 1}
    )
    site.nova.base.mkdir()
    _, image_id, digest = owned_elsewhere(site, tmp_path)
    assert (
        site.nova.clone(image_id, 'vm1', source=tmp_path / '0.qcow2')[
            'downloads'
        ]
        == 1
    )
    assert eventually(lambda: site.agent.host.copies(digest), agents.LONG)
    site.becomes(image_id, states.FOREIGN)


# Damage


@pytest.mark.parametrize('publish', ['copy', 'hardlink'])
def test_a_damaged_base_file_is_reported_with_its_instances(
    make_site: Callable[..., Site], tmp_path: pathlib.Path, publish: str
) -> None:
    site = make_site(
        force_raw=True,
        publish=publish,
        settings={
            'tmpl_store_scrub_period': 1,
            'tmpl_store_scrub_rate': 200 * MIB,
        },
    )
    image_id = site.publish(hostile.harmless(tmp_path))
    site.nova.clone(image_id, 'vm1')
    base = site.nova.base_file(image_id)
    base.chmod(0o644)
    with base.open('r+b') as file:
        file.seek(MIB)
        file.write(b'rotten')
    state = site.becomes(image_id, states.DAMAGED)
    assert state['instances'] == ['vm1']
    assert base.exists()
    base.read_bytes().index(b'rotten')


def test_the_original_goes_where_it_is_only_a_cache(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(
        start=False,
        force_raw=True,
        keep_original=False,
        fetch_on_boot=True,
        touch_interval=1,
        settings={'tmpl_store_copies': 1},
    )
    owner, image_id, digest = owned_elsewhere(site, tmp_path)
    begin_download(site, image_id)
    base = site.nova.base_file(image_id)
    assert eventually(base.exists, agents.LONG), site.agent.log_tail()
    assert eventually(lambda: not site.agent.host.copies(digest), agents.LONG)
    site.cluster.wait_for_holders(digest, 'node0')
    # What is left is looked after, and is what Nova wants.
    os.utime(base, (1, 1))
    assert eventually(lambda: base.stat().st_mtime > 1, agents.LONG)
    base.with_suffix('.part').unlink(missing_ok=True)
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0
    assert not site.agent.host.copies(digest)
    # The owner's is the durable one, although the same goes for it.
    assert owner.host.copies(digest)


def test_a_signal_to_stop_lets_boots_go_on(
    storm: tuple[Site, str], tmp_path: pathlib.Path
) -> None:
    site, image_id = storm
    site.nova.begin_clones(image_id, 'vm1', source=tmp_path / '0.qcow2')
    os.kill(site.agent.pid, signal.SIGTERM)
    assert site.nova.end_clones()['downloads'] == 1
