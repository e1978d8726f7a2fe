# SPDX-License-Identifier: Apache-2.0
"""A rolling upgrade: an agent of the last release beside one of this.

The last release is taken from this repository's history; a clone without that
commit has only the literal records in ``tests/unit/test_objects.py``.
"""

import pathlib
import subprocess

import pytest

from harness import agents
from harness import host as hosts

#: The last one before records of copies told of base files.
BEFORE = 'dfac718'
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def last_release(tmp_path: pathlib.Path) -> pathlib.Path:
    """The directory of the last release's package."""
    archive = subprocess.run(
        ['git', '-C', REPOSITORY, 'archive', BEFORE, 'tmpl_glance_store'],
        check=False,
        capture_output=True,
    )
    if archive.returncode:
        pytest.skip(f'this clone has no commit {BEFORE}')
    directory = tmp_path / 'last'
    directory.mkdir()
    subprocess.run(
        ['tar', '-x', '-C', directory], input=archive.stdout, check=True
    )
    return directory


def test_an_old_agent_and_a_new_one_hold_each_others_templates(
    last_release: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    instances = tmp_path / 'nova'
    instances.mkdir()
    with agents.Cluster(tmp_path, tmpl_store_copies=2) as cluster:
        old = cluster.node(
            'old', prefix=('env', f'PYTHONPATH={last_release}')
        ).start()
        new = cluster.node('new', nova={'instances_path': instances}).start()
        code = pathlib.Path(f'/proc/{old.pid}/environ').read_bytes()
        assert str(last_release).encode() in code
        assert 'images' not in old.status()
        assert 'images' in new.status()
        for agent in old, new:
            data = hosts.content(100_000, agent.name)
            agent.host.parts().images.add(hosts.new_id(), [data], 0, 'sha256')
            cluster.wait_for_holders(hosts.digest_of(data), 'new', 'old')
        cluster.wait_until_whole()
        # What the new one writes into records does not hinder the old one.
        assert any(
            record['published']
            for record in new.host.records('copies').values()
        )
        old.kill()
        old.start()
        assert old.status()['problem'] is None
        cluster.wait_until_whole()
