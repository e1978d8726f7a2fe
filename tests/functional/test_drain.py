# SPDX-License-Identifier: Apache-2.0
"""Nodes taken out of service, and back: real agents, real commands."""

import json
import os
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from harness import host as hosts
from harness.agents import LONG
from harness.agents import Cluster
from harness.agents import command
from harness.waiting import eventually
from tmpl_glance_store.images import url as image_url

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

DATA = hosts.content(2_000_000, 'drain')
TEMPLATES = 8


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> Iterator[Cluster]:
    """A cluster without nodes yet, which keeps one copy of each template."""
    with Cluster(
        tmp_path, tmpl_store_copies=1, tmpl_store_interval=1
    ) as cluster:
        yield cluster


def manage(cluster: Cluster, *arguments: str) -> Any:
    """Return what ``tmpl-manage`` shows."""
    done = subprocess.run(
        [
            command('tmpl-manage'),
            '--config-file',
            str(cluster.agents[0].config),
            *arguments,
            '-f',
            'json',
        ],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
    )
    assert (done.returncode, done.stderr) == (0, '')
    return json.loads(done.stdout)


def placement(cluster: Cluster, node: str) -> tuple[str, int]:
    """Return the placement of a node, and how many copies it has."""
    (row,) = (
        row for row in manage(cluster, 'node', 'list') if row['Node'] == node
    )
    return row['Placement'], row['Copies']


def add_all(cluster: Cluster) -> list[image_url.ImageUrl]:
    """Upload some templates at the first node."""
    parts = cluster.agents[0].host.parts()
    return [hosts.add(parts, DATA[number:]) for number in range(TEMPLATES)]


def test_a_drained_node_gives_all_copies_away_and_takes_them_back(
    cluster: Cluster,
) -> None:
    first, second, _ = cluster.nodes('n1', 'n2', 'n3')
    images = add_all(cluster)
    cluster.wait_until_whole()
    manage(cluster, 'node', 'drain', 'n2')
    # What was placed there, and what was only a cache.
    assert eventually(
        lambda: placement(cluster, 'n2') == ('drained', 0), LONG
    ), placement(cluster, 'n2')
    assert second.host.copies() == []
    cluster.wait_until_whole()
    for image in images:
        assert 'n2' not in cluster.holders(image.digest)
        assert hosts.read(first.host.parts(), image) in (
            DATA[number:] for number in range(TEMPLATES)
        )
    manage(cluster, 'node', 'drain', 'n3')
    assert eventually(
        lambda: placement(cluster, 'n3') == ('drained', 0), LONG
    ), placement(cluster, 'n3')
    for image in images:
        assert cluster.holders(image.digest) == ['n1']
    manage(cluster, 'node', 'resume', 'n2')
    cluster.wait_until_whole()
    assert placement(cluster, 'n2')[0] == 'active'
    assert second.host.copies()


def test_a_node_that_is_drained_keeps_what_nobody_else_has_yet(
    cluster: Cluster,
) -> None:
    first, second = cluster.nodes('n1', 'n2')
    second.kill()
    images = add_all(cluster)
    manage(cluster, 'node', 'drain', 'n1')
    passes = first.metric('agent_passes_total')
    assert eventually(
        lambda: first.metric('agent_passes_total') > passes, LONG
    )
    assert placement(cluster, 'n1') == ('draining', TEMPLATES)
    assert len(first.host.copies()) == TEMPLATES
    # Neither does an agent that starts anew forget that it is drained.
    first.kill()
    first.start()
    second.start()
    assert eventually(
        lambda: placement(cluster, 'n1') == ('drained', 0), LONG
    ), placement(cluster, 'n1')
    assert first.host.copies() == []
    for image in images:
        assert cluster.holders(image.digest) == ['n2']
    cluster.wait_until_whole()


def test_a_template_that_is_pinned_goes_to_all_nodes_but_drained_ones(
    cluster: Cluster,
) -> None:
    cluster.nodes('n1', 'n2', 'n3')
    image, *_ = add_all(cluster)
    manage(cluster, 'node', 'drain', 'n3')
    manage(cluster, 'template', 'pin', image.image_id)
    assert eventually(
        lambda: placement(cluster, 'n3') == ('drained', 0), LONG
    ), placement(cluster, 'n3')
    cluster.wait_for_holders(image.digest, 'n1', 'n2')
    manage(cluster, 'node', 'resume', 'n3')
    cluster.wait_for_holders(image.digest, 'n1', 'n2', 'n3')
