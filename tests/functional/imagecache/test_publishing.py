# SPDX-License-Identifier: Apache-2.0
"""Linked clones by Nova on base files that the agent published."""

import json
import os
import pathlib
import subprocess
from collections.abc import Callable

import pytest

from harness import agents
from harness import host as hosts
from harness.disks import Disks
from harness.waiting import eventually
from tests.functional import hostile
from tests.functional.imagecache.site import Site
from tmpl_glance_store import imagecache
from tmpl_glance_store.imagecache import states

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can mount disks and change owners'
)

MIB = 1 << 20
GIB = 1 << 30
STRANGER = 64199  # as libvirt-qemu, but known to no machine


def chain(disk: pathlib.Path) -> list[str]:
    """Return the files that a disk consists of, the disk first."""
    answer = subprocess.run(
        ['qemu-img', 'info', '--backing-chain', '--output=json', disk],
        check=True,
        capture_output=True,
    ).stdout
    return [each['filename'] for each in json.loads(answer)]


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
