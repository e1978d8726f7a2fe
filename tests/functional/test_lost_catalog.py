# SPDX-License-Identifier: Apache-2.0
"""An etcd that was emptied, or restored from an older backup.

Agents and a glance-api go on running meanwhile.
"""

import pathlib
from collections.abc import Iterator

import pytest

from harness import host as hosts
from harness.agents import LONG
from harness.agents import Cluster
from harness.etcd import Etcd
from harness.waiting import eventually
from tmpl_glance_store import exceptions

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

NAMES = 'n1', 'n2', 'n3'


@pytest.fixture
def etcd(tmp_path: pathlib.Path) -> Iterator[Etcd]:
    with Etcd(tmp_path / 'etcd') as etcd:
        yield etcd


@pytest.fixture
def cluster(tmp_path: pathlib.Path, etcd: Etcd) -> Iterator[Cluster]:
    """Three nodes, each of which is to hold each template."""
    with Cluster(
        tmp_path / 'nodes', etcd.url, tmpl_store_interval=1
    ) as cluster:
        cluster.nodes(*NAMES)
        yield cluster


def on_disks(cluster: Cluster, digest: str) -> list[int]:
    """Return how many copies of a template each node has."""
    return [len(agent.host.copies(digest)) for agent in cluster.agents]


def accept(cluster: Cluster) -> None:
    """Do what ``tmpl-manage catalog accept`` does."""
    cluster.catalog.history.accept()


def test_an_emptied_etcd_is_refilled_without_restarts(
    cluster: Cluster, etcd: Etcd
) -> None:
    (member,) = etcd.members
    glance = cluster.agents[0].host.parts()
    images = [
        hosts.add(glance, hosts.content(200_000, seed)) for seed in range(2)
    ]
    for image in images:
        cluster.wait_for_holders(image.digest, *NAMES)
    member.stop()
    member.restore()
    etcd.start(member)
    for image in images:
        cluster.wait_for_holders(image.digest, *NAMES)
        assert on_disks(cluster, image.digest) == [1, 1, 1]
        assert cluster.catalog.bindings.facts(image.digest) is not None
    assert eventually(lambda: cluster.live(*cluster.agents), LONG)
    # A glance-api that knew the images reads them on; it takes new ones.
    again = hosts.add(glance, b'uploaded after that')
    assert hosts.read(glance, again) == b'uploaded after that'
    with pytest.raises(exceptions.Unavailable, match='catalog accept'):
        hosts.remove(glance, again)
    accept(cluster)
    hosts.remove(glance, again)
    assert eventually(lambda: not any(on_disks(cluster, again.digest)), LONG)


def test_an_older_backup_of_etcd_removes_nothing_until_it_is_accepted(
    cluster: Cluster, etcd: Etcd, tmp_path: pathlib.Path
) -> None:
    (member,) = etcd.members
    third = cluster.agents[2]
    glance = cluster.agents[0].host.parts()
    data = hosts.content(300_000, 'deleted and uploaded again')
    gone = hosts.add(glance, data)
    cluster.wait_for_holders(gone.digest, *NAMES)
    third.kill()
    assert eventually(lambda: not cluster.live(third), LONG)
    hosts.remove(glance, gone)
    assert eventually(lambda: on_disks(cluster, gone.digest) == [0, 0, 1])
    # Its deletion is not over while a node is away: now the backup is made.
    member.stop()
    member.save(tmp_path / 'backup')
    etcd.start(member)
    third.start()
    back = hosts.add(glance, data)
    late = hosts.add(glance, hosts.content(100_000, 'after the backup'))
    for image in back, late:
        cluster.wait_for_holders(image.digest, *NAMES)
    member.stop()
    member.restore(tmp_path / 'backup')
    etcd.start(member)
    for agent in cluster.agents:
        assert eventually(
            lambda agent=agent: 'catalog accept' in agent.log_text(), LONG
        ), agent.log_tail()
    assert on_disks(cluster, back.digest) == [1, 1, 1]
    assert on_disks(cluster, late.digest) == [1, 1, 1]
    cluster.wait_for_holders(late.digest, *NAMES)
    # The operator has Glance upload what it still knows, and then agrees.
    hosts.add(glance, data, back.image_id)
    accept(cluster)
    assert eventually(lambda: on_disks(cluster, back.digest) == [1, 1, 1])
    cluster.wait_for_holders(back.digest, *NAMES)
    assert hosts.read(glance, hosts.url_of(glance, back.image_id)) == data
