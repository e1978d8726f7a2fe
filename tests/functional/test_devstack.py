# SPDX-License-Identifier: Apache-2.0
"""The DevStack plugin, phase by phase, on a scratch prefix.

With DEVSTACK_DIR in the environment the functions are those of that checkout
of DevStack, otherwise those of ``devstack/functions.sh``. A real etcd stands
for DevStack's, and units are started by what their files say. Needs root.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import glance
from harness import host as hosts
from harness import programs
from harness.agents import LONG
from harness.etcd import Etcd
from harness.image_api import ImageClient
from harness.waiting import eventually
from tmpl_glance_store import imagecache

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='DevStack changes owners, and mounts'
)

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).parent / 'devstack'
UNIT = 'devstack@tmpl-agent.service'
STACK = ('stack-pre-install', 'stack-install', 'stack-post-config')


class Node:
    """A machine that is stacked, below the directory *root*.

    :param settings: as in local.conf
    """

    def __init__(self, root: pathlib.Path, **settings: Any) -> None:
        self.root = root
        self.data = root / 'data'
        self.units = root / 'units'
        self.glance_conf = root / 'etc' / 'glance-api.conf'
        self.nova_conf = root / 'etc' / 'nova.conf'
        self.agent_conf = root / 'etc' / 'tmpl' / 'tmpl-agent.conf'
        self.calls = root / 'calls'
        self.glance_conf.parent.mkdir(parents=True)
        self.data.mkdir()
        if 'DEVSTACK_DIR' in os.environ:  # it knows no other one
            self.fstab = pathlib.Path('/etc/fstab')
        else:
            self.fstab = root / 'fstab'
            self.fstab.write_text('# nothing of ours\n')
        self.nova_conf.write_text('[DEFAULT]\n')
        # As DevStack leaves it after configure_glance.
        self.glance_conf.write_text(
            '[DEFAULT]\nenabled_backends = fast:file\n\n[glance_store]\n'
            'default_backend = fast\n'
        )
        self.settings = {
            'DEST': root,
            'DATA_DIR': self.data,
            'STACK_USER': 'root',
            'HOST_IP': '127.0.0.1',
            'SERVICE_HOST': '127.0.0.1',
            'ENABLED_SERVICES': 'g-api,n-cpu,etcd3',
            'ENABLE_DEBUG_LOG_LEVEL': 'False',
            'PYTHON': sys.executable,
            'TMPL_DIR': REPOSITORY,
            'TMPL_CONF_DIR': self.agent_conf.parent,
            'TMPL_FSTAB': self.fstab,
            'TMPL_API_PORT': 0,
            'TMPL_SWARM_PORT': 0,
            'TMPL_NODE': root.name,
            'GLANCE_API_CONF': self.glance_conf,
            'NOVA_CONF': self.nova_conf,
            'GLANCE_MULTISTORE_FILE_IMAGE_DIR': self.data / 'glance',
            'SYSTEMD_DIR': self.units,
            'CALLS': self.calls,
            'SYSTEMCTL': HERE / 'systemctl.sh',
            **settings,
        }

    def run(self, *phases: str) -> subprocess.CompletedProcess[str]:
        """Run phases; return what they said and how they ended."""
        local = self.root / 'local.sh'
        local.write_text(
            ''.join(
                f"export {name}='{value}'\n"
                for name, value in self.settings.items()
            )
        )
        return subprocess.run(
            [HERE / 'phase.sh', local, *phases],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def phases(self, *phases: str) -> None:
        """Run phases that succeed."""
        done = self.run(*phases)
        assert done.returncode == 0, done.stdout

    def pid(self) -> int | None:
        """Return the agent's process, None if it has none."""
        try:
            return int((self.units / 'state' / f'{UNIT}.pid').read_text())
        except FileNotFoundError:
            return None

    def agent_serves(self) -> bool:
        """Tell whether the agent has come up."""
        log = self.units / 'state' / f'{UNIT}.log'
        return log.exists() and ' serves ' in log.read_text()

    @property
    def instances(self) -> pathlib.Path:
        """Nova's directory of instances."""
        return pathlib.Path(
            pathlib.Path(f'{self.calls}.env')
            .read_text()
            .strip()
            .partition('=')[2]
        )

    def base_file(self, image_id: str) -> pathlib.Path:
        """Return where the base file of an image should be."""
        return self.instances / '_base' / imagecache.base_name(image_id)

    def end(self) -> None:
        """End what a failed test has left."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.run('clean')


@pytest.fixture
def etcd(tmp_path: pathlib.Path) -> Iterator[Etcd]:
    with Etcd(tmp_path / 'etcd') as running:
        yield running


@pytest.fixture
def node(tmp_path: pathlib.Path, etcd: Etcd) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def node(name: str = 'controller', **settings: Any) -> Node:
        nodes.append(
            Node(
                tmp_path / name,
                ETCD_PORT=etcd.url.rpartition(':')[2],
                **settings,
            )
        )
        return nodes[-1]

    yield node
    for each in nodes:
        each.end()


def read(path: pathlib.Path) -> dict[str, dict[str, list[str]]]:
    """Return what an ini file says: every option may be there twice."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in path.read_text().splitlines():
        if line.startswith('['):
            section = sections.setdefault(line.strip('[]'), {})
        elif '=' in line:
            name, _, value = line.partition('=')
            section.setdefault(name.strip(), []).append(value.strip())
    return sections


@contextlib.contextmanager
def running_glance(node: Node) -> Iterator[ImageClient]:
    """Run Glance by the file that the plugin has left; give a client."""
    options = read(node.glance_conf)
    backends = dict(
        each.split(':')
        for each in options['DEFAULT'].pop('enabled_backends')[0].split(',')
    )
    (default,) = options['glance_store']['default_backend']
    for section in options.values():
        for value in section.get('filesystem_store_datadir', ()):
            pathlib.Path(value).mkdir(parents=True, exist_ok=True)
    with glance.GlanceServer(
        node.root / 'glance',
        sections=options,
        backends={default: backends.pop(default), **backends},
    ) as server:
        yield ImageClient(server, user='admin', role='admin')


def upload(client: ImageClient, data: bytes) -> str:
    """Upload a raw image; return its id."""
    image_id = client.upload(data)
    assert client.show(image_id)['status'] == 'active'
    return image_id


def test_a_stack_on_an_ssd_of_its_own_from_the_first_to_the_last_phase(
    node: Callable[..., Node],
) -> None:
    shown = node(TMPL_LOOP_SSD_SIZE='400M')
    fstab = shown.fstab.read_text()
    shown.phases(*STACK)
    assert shown.calls.read_text().splitlines() == [
        'install_package xfsprogs',
        f'setup_develop -bindep=devstack {REPOSITORY} agent',
    ]
    options = read(shown.glance_conf)
    assert options['DEFAULT']['enabled_backends'] == ['fast:file,tmpl:tmpl']
    assert options['glance_store']['default_backend'] == ['tmpl']
    assert options['os_glance_tasks_store']
    assert options['fast'] == {
        'filesystem_store_datadir': [f'{shown.data}/glance/fast/']
    }
    assert options['os_glance_staging_store']
    agent = read(shown.agent_conf)
    for name, value in options['tmpl'].items():
        assert agent['tmpl'][name] == value
    assert read(shown.nova_conf)['DEFAULT']['force_raw_images'] == ['False']
    assert read(shown.units / UNIT)['Service']['AmbientCapabilities'] == [
        'CAP_FOWNER'
    ]
    assert str(shown.data / 'tmpl-ssd') in shown.fstab.read_text()
    assert eventually(shown.agent_serves, LONG)
    with running_glance(shown) as client:
        image_id = upload(client, hosts.content(100_000))
        base = shown.base_file(image_id)
        assert eventually(base.exists, LONG)
        assert base.read_bytes() == hosts.content(100_000)
        assert base.stat().st_nlink == 1  # a reflink
    # Stacking again begins anew.
    shown.phases('unstack')
    assert shown.pid() is None
    shown.phases(*STACK)
    assert eventually(shown.agent_serves, LONG)
    assert not base.exists()
    assert read(shown.glance_conf)['DEFAULT']['enabled_backends'] == [
        'fast:file,tmpl:tmpl'
    ]
    shown.phases('unstack', 'clean')
    assert shown.pid() is None
    assert shown.fstab.read_text() == fstab
    assert str(shown.root) not in pathlib.Path('/proc/mounts').read_text()
    assert not shown.agent_conf.parent.exists()
    assert not (shown.units / UNIT).exists()
    assert {each.name for each in shown.data.iterdir()} <= {'glance'}


def test_a_second_node_finds_the_catalog_and_proves_itself_by_tls(
    node: Callable[..., Node],
) -> None:
    first = node(TMPL_TLS=True)
    first.phases(*STACK)
    assert eventually(first.agent_serves, LONG)
    second = node(
        'compute', TMPL_TLS=True, HOST_IP='127.0.0.2', ENABLED_SERVICES='n-cpu'
    )
    refused = second.run(*STACK)
    assert refused.returncode
    assert f'Copy {second.data}/CA/tmpl-ca from 127.0.0.1' in refused.stdout
    shutil.copytree(
        first.data / 'CA' / 'tmpl-ca', second.data / 'CA' / 'tmpl-ca'
    )
    second.phases(*STACK)
    assert eventually(second.agent_serves, LONG)
    options = read(second.agent_conf)['tmpl']
    assert (
        options['tmpl_store_catalog']
        == read(first.agent_conf)['tmpl']['tmpl_store_catalog']
    )
    assert options['tmpl_store_agent_host'] == ['127.0.0.2']
    assert 'tmpl' not in read(second.glance_conf)
    with running_glance(first) as client:
        image_id = upload(client, hosts.content(300_000))
        for each in first, second:
            assert eventually(each.base_file(image_id).exists, LONG), each
    for each in second, first:
        each.phases('unstack', 'clean')
        assert each.pid() is None
        assert not each.agent_conf.parent.exists()


def test_a_second_node_without_tls_is_told_what_to_do(
    node: Callable[..., Node],
) -> None:
    done = node('compute', HOST_IP='127.0.0.2', ENABLED_SERVICES='n-cpu').run(
        *STACK
    )
    assert done.returncode
    assert 'needs TMPL_TLS=True' in done.stdout


def test_an_ssd_that_is_not_wanted_any_more_goes(
    node: Callable[..., Node],
) -> None:
    shown = node(TMPL_LOOP_SSD_SIZE='400M', ENABLED_SERVICES='g-api')
    fstab = shown.fstab.read_text()
    shown.phases(*STACK)
    shown.phases('unstack')
    del shown.settings['TMPL_LOOP_SSD_SIZE']
    shown.phases(*STACK)
    assert shown.fstab.read_text() == fstab
    assert str(shown.root) not in pathlib.Path('/proc/mounts').read_text()
    assert not (shown.data / 'tmpl-ssd.img').exists()
    shown.phases('unstack', 'clean')
    assert {each.name for each in shown.data.iterdir()} <= {'glance', 'nova'}


def test_what_the_operator_sets_wins(
    node: Callable[..., Node], tmp_path: pathlib.Path
) -> None:
    shown = node(
        ENABLED_SERVICES='g-api',
        TMPL_BACKEND='gold',
        TMPL_LOCATIONS=f'ssd:{tmp_path}/a:5 hdd:{tmp_path}/b:9',
        TMPL_PLACEMENT='all_nodes',
        TMPL_COPIES=2,
    )
    shown.phases(*STACK)
    options = read(shown.glance_conf)
    assert options['DEFAULT']['enabled_backends'] == ['fast:file,gold:tmpl']
    gold = options['gold']
    assert sorted(gold['tmpl_store_locations']) == [
        f'hdd:{tmp_path}/b:9',
        f'ssd:{tmp_path}/a:5',
    ]
    assert gold['tmpl_store_placement'] == ['all_nodes']
    assert gold['tmpl_store_copies'] == ['2']
    assert gold['tmpl_store_cluster'] == ['gold']
    # No etcd here: SQLite on this node.
    assert gold['tmpl_store_catalog'] == [
        f'sqlite:///{shown.data}/tmpl/catalog.sqlite'
    ]
    assert 'nova' not in read(shown.agent_conf)


@pytest.mark.parametrize(
    'path',
    [
        'devstack/plugin.sh',
        'devstack/lib/tmpl-glance-store',
        'devstack/settings',
        'devstack/override-defaults',
        *(
            f'tests/functional/devstack/{name}.sh'
            for name in ('functions', 'phase', 'systemctl')
        ),
    ],
)
def test_the_scripts_are_clean(path: str) -> None:
    # DevStack's own style leaves variables unquoted, and lines long.
    for command in (
        [
            'shellcheck',
            '--shell=bash',
            '--exclude=SC1090,SC1091,SC2034,SC2086,SC2154',
        ],
        ['bashate', '--ignore=E005,E006'],
    ):
        done = subprocess.run(
            [programs.program(command[0]), *command[1:], REPOSITORY / path],
            text=True,
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
