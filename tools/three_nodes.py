# SPDX-License-Identifier: Apache-2.0
"""The second part of the demo: a cluster of agents."""

import contextlib
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, Self

from harness import agents
from harness import etcd
from harness import waiting
from tmpl_glance_store import imagecache
from tools import cloud
from tools import guest
from tools import stage
from tools import template_image

#: Bytes/s that a node may fetch: a disk of this machine is no network.
DOWNLOAD_LIMIT = 80 * stage.MIB

#: What the environment's CATALOG may be; the first is the default.
CATALOGS = 'sqlite', 'etcd'

_BAR = 30
_PATIENCE = 120  # seconds for anything to happen
_LOOK = 0.2  # seconds between two looks at the nodes


class ThreeNodes:
    """Three nodes with an agent each, and a Glance that keeps nothing.

    :param root: a directory for everything
    :param tier: of the disk of each node: ``ssd``, and the hash ranges say
        which two nodes hold a template; ``hdd``, and all nodes do
    """

    def __init__(
        self, scene: stage.Stage, root: pathlib.Path, tier: str
    ) -> None:
        self._scene, self._say = scene, scene.say
        self._root, self._tier = root, tier
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return what is shown, in order."""
        if self._tier == 'ssd':
            return {
                'Start three nodes with an SSD each, and a Glance beside '
                'them': self._start,
                'Upload: the hash ranges choose two nodes': self._upload,
                'Kill the agent of one of them: another node steps in': (
                    self._kill
                ),
                'Start it again: nothing is fetched twice': self._return,
                'Delete the image: it goes everywhere': self._end,
            }
        return {
            'Start three nodes without an SSD': self._start,
            'Upload: every node gets it, from the others too': self._upload,
            'Delete this image as well': self._delete,
            'Upload a bootable one: every node gives it to Nova': (
                self._publish
            ),
            'Boot a guest on each node, from its own disk': self._boot,
        }

    def _start(self) -> None:
        self._root.mkdir()
        self._cluster = self._cleanup.enter_context(
            agents.Cluster(
                self._root / 'nodes',
                self._start_catalog(),
                tmpl_store_copies=2,
                tmpl_store_rebuild_delay=2,
                tmpl_store_download_limit=DOWNLOAD_LIMIT,
            )
        )
        glance = self._cluster.node('glance', 'staging:staging')
        self._nodes = [
            self._cluster.node(
                f'node{number}',
                f'{self._tier}:disk:100',
                nova={
                    'instances_path': self._instances(f'node{number}'),
                    'force_raw': False,
                },
            )
            for number in (1, 2, 3)
        ]
        for agent in self._cluster.agents:
            agent.launch()
        self._cloud = cloud.Cloud(
            self._scene, self._root / 'glance', glance.host.settings
        )
        self._cleanup.callback(self._cloud.server.kill)
        self._cloud.start()
        for agent in self._cluster.agents:
            agent.wait_until_served()
            self._say(
                f'agent {agent.name}: {agent.url}, '
                f'{agent.host.settings["tmpl_store_locations"][0]}'
            )
        stage.check(
            waiting.eventually(
                lambda: self._cluster.live(*self._cluster.agents), _PATIENCE
            ),
            'not all agents are live',
        )

    def _start_catalog(self) -> str:
        """Return the URL of a new catalog."""
        if os.environ.get('CATALOG') != 'etcd':
            url = f'sqlite:///{self._root}/catalog.sqlite'
        else:
            url = self._cleanup.enter_context(
                etcd.Etcd(self._root / 'etcd')
            ).url
        self._say(f'catalog: {url}')
        return url

    def _upload(self) -> None:
        self._cloud.create_image('template')
        self._digest = self._cloud.digest_of('template')
        wanted = 2 if self._tier == 'ssd' else 3
        self._wait(
            lambda: (
                len(self._holders()) == wanted
                and 'glance' not in self._cluster.holders(self._digest)
            )
        )
        self._say(
            f'{", ".join(self._holders())} have it, proved; '
            f'the host of Glance has let go of its copy'
        )
        self._cluster.wait_until_whole()

    def _kill(self) -> None:
        before = self._holders()
        self._killed = next(
            node for node in self._nodes if node.name == before[0]
        )
        self._inode = self._inode_of(self._killed)
        self._killed.kill()
        self._say(f'SIGKILL for the agent of {self._killed.name}')
        (stands_in,) = {node.name for node in self._nodes} - {*before}
        self._wait(lambda: stands_in in self._holders())
        self._cluster.wait_until_whole(away=(self._killed.name,))
        self._cloud.save_image('template')

    def _return(self) -> None:
        self._killed.start()
        self._wait(lambda: self._cluster.live(self._killed))
        self._cluster.wait_until_whole()
        stage.check(
            self._inode_of(self._killed) == self._inode,
            'it had a copy, and fetched it again',
        )
        self._say(
            f'{self._killed.name} serves the copy that it had; '
            f'{", ".join(self._holders())} have it'
        )

    def _delete(self) -> None:
        self._cloud.delete_image('template')
        self._cluster.wait_until_clean()
        self._say('nothing is left on any node')

    def _end(self) -> None:
        self._delete()
        self._cleanup.close()

    def _publish(self) -> None:
        self._guest = guest.make_guest(self._root)
        self._cloud.create_image('guest', self._guest.path)
        self._digest = self._cloud.digest_of('guest')
        self._image_id = self._cloud.show_image('guest')['id']
        self._wait(lambda: len(self._holders()) == 3)
        self._wait(
            lambda: all(self._base_file(node).exists() for node in self._nodes)
        )
        self._cluster.wait_until_whole()
        for node in self._nodes:
            image = self._published(node)
            self._say(
                f'{node.name}: {self._scene.short(image["base_file"])} '
                f'is {image["state"]} ({image["mode"]})'
            )

    def _boot(self) -> None:
        before = self._traffic()
        for node in self._nodes:
            disk = self._instances(node.name) / 'vm' / 'disk'
            disk.parent.mkdir()
            guest.make_overlay(self._base_file(node), 'qcow2', disk)
            booted = guest.boot(disk, self._guest.mark)
            stage.check(
                self._published(node)['instances'] == ['vm'],
                f'{node.name} does not know whose base file it is',
            )
            self._say(f'{node.name}: up after {booted.seconds:.1f} s')
            self._say(
                '  '
                + ' <- '.join(
                    map(self._scene.short, template_image.backing_chain(disk))
                )
            )
        time.sleep(2)  # the agents count once a second
        read = self._traffic() - before
        self._say(f'bytes read over the network by the boots: {read:.0f}')
        stage.check(read == 0, 'the boots were not local')

    def _published(self, node: agents.Agent) -> dict[str, Any]:
        """Return what an agent says of the bootable image."""
        return next(
            each
            for each in node.status()['images']
            if each['image'] == self._image_id
        )

    def _instances(self, name: str) -> pathlib.Path:
        directory = self._root / 'nova' / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _base_file(self, node: agents.Agent) -> pathlib.Path:
        return (
            self._instances(node.name)
            / '_base'
            / imagecache.base_name(self._image_id)
        )

    def _traffic(self) -> float:
        """Return the template bytes that the agents have sent or got."""
        return sum(
            node.metric(name)
            for node in self._cluster.agents
            for name in (
                'api_sent_bytes_total',
                'swarm_received_bytes_total',
                'swarm_sent_bytes_total',
            )
        )

    def _inode_of(self, node: agents.Agent) -> int:
        (copy,) = node.host.copies(self._digest)
        return (copy / 'image').stat().st_ino

    def _holders(self) -> list[str]:
        return [
            name
            for name in self._cluster.holders(self._digest)
            if name != 'glance'
        ]

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Show how far the nodes are until *condition* holds.

        :raises StepFailed: if that takes too long
        """
        deadline = time.monotonic() + _PATIENCE
        with self._scene.screen.live() as show:
            while not condition():
                stage.check(
                    time.monotonic() < deadline,
                    f'nothing has happened for {_PATIENCE} s',
                )
                show([self._bar(node) for node in self._nodes])
                time.sleep(_LOOK)
            show([self._bar(node) for node in self._nodes])

    def _bar(self, node: agents.Agent) -> str:
        share, note = self._progress(node)
        return (
            f'{node.name} [{"#" * round(share * _BAR):<{_BAR}}] '
            f'{share:4.0%}  {note}'
        )

    def _progress(self, node: agents.Agent) -> tuple[float, str]:
        """Return how much of the template a node has, and a word on it."""
        if not node.running:
            return 0, 'killed'
        status = node.status()
        for each in status['transfers']:
            return (
                each['done'] / each['size'],
                f'{stage.mib(each["download_rate"])}/s from '
                f'{each["peers"]} peers',
            )
        for each in status['copies']:
            return each['state'] != 'waiting', each['state']
        return 0, ''
