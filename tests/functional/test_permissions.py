# SPDX-License-Identifier: Apache-2.0
"""Who may do what: Glance, the agent, Nova, the hypervisor and a stranger.

Every part runs as a user of its own, by number; modes and capabilities are
what the unit file gives. Needs root, to become all of them.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness import agents
from harness import host as hosts
from harness.waiting import eventually
from tests.functional import reach
from tests.functional import sandbox
from tmpl_glance_store import imagecache
from tmpl_glance_store.imagecache import states

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can become other users'
)

GLANCE, NOVA, TMPL, QEMU, STRANGER = 64101, 64102, 64103, 64104, 64105
#: All of them but the stranger are in it; it owns the locations.
SHARED = 64110
UNIT = (
    pathlib.Path(__file__).resolve().parents[2]
    / 'etc'
    / 'systemd'
    / 'tmpl-agent.service'
)

_ADD = """
import sys
from harness.host import Host
host = Host.from_json(sys.argv[1])
host.parts().images.add(sys.argv[2], [sys.stdin.buffer.read()], 0, 'sha256')
"""


def become(
    user: int, *groups: int, capabilities: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return the command that runs another one as a user."""
    kept = ','.join(['-all', *(f'+{each}' for each in capabilities)])
    return (
        'unshare',
        '-m',
        sys.executable,
        reach.__file__,
        'setpriv',
        f'--reuid={user}',
        f'--regid={user}',
        f'--groups={",".join(map(str, groups or (user,)))}',
        f'--bounding-set={kept}',
        f'--inh-caps={kept}',
        f'--ambient-caps={kept}',
    )


@dataclasses.dataclass
class Cloud:
    """One machine with everybody on it."""

    root: pathlib.Path
    cluster: agents.Cluster
    agent: agents.Agent
    instances: pathlib.Path

    def upload(self, data: bytes) -> str:
        """Upload an image as the user of glance-api does."""
        image_id = hosts.new_id()
        done = subprocess.run(
            [
                *become(GLANCE, GLANCE, SHARED),
                sys.executable,
                '-c',
                _ADD,
                self.agent.host.to_json(),
                image_id,
            ],
            input=data,
            check=False,
            capture_output=True,
            env=self.environment,
        )
        assert done.returncode == 0, done.stderr.decode()
        return image_id

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            'PYTHONPATH': str(pathlib.Path(__file__).parents[2]),
        }

    def state(self, image_id: str) -> dict[str, object]:
        """Return what the agent says of an image."""
        return next(
            (
                each
                for each in self.agent.status()['images']
                if each['image'] == image_id
            ),
            {},
        )

    def publish(self, data: bytes) -> pathlib.Path:
        """Upload an image; return its base file, once it is there."""
        image_id = self.upload(data)
        assert eventually(
            lambda: self.state(image_id).get('state') == states.PUBLISHED,
            agents.LONG,
        ), (self.state(image_id), self.agent.log_tail())
        return self.instances / '_base' / imagecache.base_name(image_id)


def may(
    user: int, groups: tuple[int, ...], verb: str, path: pathlib.Path
) -> bool:
    """Tell whether a user can open a file: ``r``, ``a`` (to write), …"""
    return not subprocess.run(
        [
            *become(user, *groups),
            sys.executable,
            '-c',
            'import sys; open(sys.argv[1], sys.argv[2])',
            path,
            verb,
        ],
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode


@pytest.fixture
def open_root(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A directory that everybody may enter, and its parents too."""
    root = pathlib.Path('/var/tmp') / f'tmpl-test-{tmp_path.name}'
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    root.chmod(0o755)
    yield root
    shutil.rmtree(root)


def make(
    root: pathlib.Path, prefix: tuple[str, ...], owner: int, group: int = NOVA
) -> Iterator[Cloud]:
    """Make the directories as a package does, and an agent.

    :param group: of Nova's directory
    """
    instances = root / 'nova'
    instances.mkdir()
    os.chown(instances, NOVA, group)
    state = root / 'state'
    state.mkdir()
    os.chown(state, owner, SHARED)
    state.chmod(0o2770)
    with agents.Cluster(root, f'sqlite:///{state}/catalog.sqlite') as cluster:
        agent = cluster.node(
            'node1',
            'ssd:ssd:10',
            prefix=prefix,
            tmpl_store_interval=1,
            tmpl_store_group=str(SHARED),
            nova={
                'instances_path': instances,
                'force_raw': False,
                'hypervisor_user': QEMU,
                'touch_interval': 1,
            },
        )
        location = agent.host.root / 'ssd'
        location.mkdir()
        os.chown(location, GLANCE, SHARED)
        location.chmod(0o750)
        yield Cloud(root, cluster, agent, instances)


@pytest.fixture
def cloud(open_root: pathlib.Path) -> Iterator[Cloud]:
    """An agent as the unit runs it.

    As a user of its own, with the unit's capabilities and system calls.
    """
    capabilities = sandbox.read(str(UNIT))['AmbientCapabilities'].split()
    prefix = become(
        TMPL,
        TMPL,
        NOVA,
        SHARED,
        GLANCE,
        capabilities=tuple(
            each.removeprefix('CAP_').lower() for each in capabilities
        ),
    )
    yield from make(
        open_root, (*prefix, sys.executable, sandbox.__file__, str(UNIT)), TMPL
    )


@pytest.fixture
def simple(open_root: pathlib.Path) -> Iterator[Cloud]:
    """An agent that is Nova's own user, as with DevStack, and no more.

    DevStack makes Nova's directory with the group of root.
    """
    yield from make(open_root, become(NOVA, NOVA, SHARED), NOVA, group=0)


def test_a_template_is_read_by_the_hypervisor_and_written_by_nobody(
    cloud: Cloud,
) -> None:
    # Glance has made the location: no umask of its takes the group's rights.
    first = cloud.upload(hosts.content(1000, 1))
    cloud.agent.start()
    assert eventually(
        lambda: cloud.state(first).get('state') == states.PUBLISHED,
        agents.LONG,
    ), cloud.agent.log_tail()
    base = cloud.publish(hosts.content(1000))
    (location,) = cloud.agent.host.paths
    image = next(iter(cloud.agent.host.copies())) / 'image'
    readers = {
        GLANCE: (GLANCE, SHARED),
        NOVA: (NOVA, SHARED),
        QEMU: (QEMU, SHARED),
    }
    for user, groups in readers.items():
        assert may(user, groups, 'r', base), user
        assert may(user, groups, 'r', image), user
        assert not may(user, groups, 'a', image), user
    assert not may(QEMU, (QEMU, SHARED), 'a', base)
    # Not through the location; what Nova has published it shows itself.
    assert not may(STRANGER, (STRANGER,), 'r', image)
    assert not may(
        STRANGER, (STRANGER,), 'r', image.with_name('template.json')
    )
    assert subprocess.run(
        [*become(STRANGER), 'ls', location], capture_output=True, check=False
    ).returncode


def test_a_conversion_is_made_within_the_limits_of_the_unit(
    open_root: pathlib.Path, cloud: Cloud
) -> None:
    cloud.agent.nova['force_raw'] = True
    cloud.agent.start()
    data = hosts.content(1 << 20)
    (open_root / 'raw').write_bytes(data)
    subprocess.run(
        [
            'qemu-img',
            'convert',
            '-f',
            'raw',
            '-O',
            'qcow2',
            open_root / 'raw',
            open_root / 'qcow2',
        ],
        check=True,
    )
    base = cloud.publish((open_root / 'qcow2').read_bytes())
    assert base.read_bytes() == data


def test_nova_can_write_its_complete_copies(cloud: Cloud) -> None:
    cloud.agent.nova['images_type'] = 'raw'
    cloud.agent.start()
    base = cloud.publish(hosts.content(1 << 20))
    disk = cloud.instances / 'disk'
    # What Nova does for a boot with images_type = raw.
    for command in (
        ['cp', '-r', base, disk],
        ['qemu-img', 'resize', '-f', 'raw', disk, '2M'],
    ):
        done = subprocess.run(
            [*become(NOVA), *command], check=False, capture_output=True
        )
        assert done.returncode == 0, done.stderr
    assert disk.stat().st_size == 2 << 20
    assert not disk.is_symlink()


def test_nova_and_the_agent_share_locks_whoever_comes_first(
    cloud: Cloud,
) -> None:
    cloud.agent.start()
    base = cloud.publish(hosts.content(1000))
    lock = cloud.instances / 'locks' / f'nova-{base.name}'
    assert (lock.stat().st_uid, lock.stat().st_gid) == (NOVA, NOVA)
    assert may(NOVA, (NOVA,), 'a', lock)
    # Nova comes first with its own mode, and its cache manager has been
    # there as well.
    base.unlink()
    lock.unlink()
    lock.touch()
    os.chown(lock, NOVA, NOVA)
    lock.chmod(0o644)
    assert eventually(base.exists, agents.LONG), cloud.agent.log_tail()
    assert may(NOVA, (NOVA,), 'a', lock)


def test_what_libvirt_has_taken_is_still_looked_after(cloud: Cloud) -> None:
    cloud.agent.start()
    base = cloud.publish(hosts.content(1000))
    os.chown(base, QEMU, QEMU)
    os.utime(base, (1, 1))
    assert eventually(lambda: base.stat().st_mtime > 1, agents.LONG), (
        cloud.agent.log_tail()
    )
    base.unlink()
    assert eventually(base.exists, agents.LONG), cloud.agent.log_tail()


def test_an_agent_that_is_novas_user_needs_no_capability(
    simple: Cloud,
) -> None:
    # On a node of its own it makes the location itself.
    shutil.rmtree(simple.agent.host.root / 'ssd')
    os.chown(simple.agent.host.root, NOVA, NOVA)
    source = simple.cluster.node('node0', tmpl_store_group=str(SHARED))
    source.start()
    simple.agent.start()
    image_id = hosts.new_id()
    source.host.parts().images.add(
        image_id, [hosts.content(100_000)], 0, 'sha256'
    )
    assert eventually(
        lambda: simple.state(image_id).get('state') == states.PUBLISHED,
        agents.LONG,
    ), (simple.state(image_id), simple.agent.log_tail())
    base = simple.instances / '_base' / imagecache.base_name(image_id)
    assert may(QEMU, (QEMU, SHARED), 'r', base)
    lock = simple.instances / 'locks' / f'nova-{base.name}'
    assert may(NOVA, (NOVA,), 'a', lock)


@pytest.fixture
def poor(open_root: pathlib.Path) -> Iterator[Cloud]:
    """An agent that is nobody to Nova."""
    yield from make(open_root, become(TMPL, TMPL, SHARED), TMPL)


def test_an_agent_without_rights_says_what_it_lacks(poor: Cloud) -> None:
    shutil.rmtree(poor.agent.host.root / 'ssd')
    os.chown(poor.agent.host.root, TMPL, SHARED)
    source = poor.cluster.node('node0', tmpl_store_group=str(SHARED)).start()
    poor.agent.start()
    image_id = hosts.new_id()
    source.host.parts().images.add(image_id, [b'data'], 0, 'sha256')
    assert eventually(
        lambda: poor.state(image_id).get('state') == states.FAILED, agents.LONG
    ), poor.agent.log_tail()
    assert 'ermission denied' in str(poor.state(image_id)['reason'])
    assert poor.agent.status()['problem'] is None
