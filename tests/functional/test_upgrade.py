# SPDX-License-Identifier: Apache-2.0
"""What versions before the first release have made: refused, and kept.

Such a version is taken from this repository's history; a clone without that
commit has only the unit tests of markers, records and of the catalog's file.
"""

import pathlib
import shutil
import subprocess

import pytest

from harness import agents
from harness import waiting

#: One whose catalog and directories were of the first layout.
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


def test_the_first_layout_of_catalog_and_disk_is_refused_and_stays(
    last_release: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with agents.Cluster(tmp_path) as cluster:
        old = cluster.node(
            'old', prefix=('env', f'PYTHONPATH={last_release}')
        ).start()
        code = pathlib.Path(f'/proc/{old.pid}/environ').read_bytes()
        assert str(last_release).encode() in code
        old.terminate()
        new = cluster.node('new').launch()
        assert new.end() == 1
        assert 'was made by an earlier version' in new.log_text()
        catalog = tmp_path / 'catalog.sqlite'
        catalog.rename(tmp_path / 'of-before')
        (directory,) = old.host.paths
        before = (directory / 'location.json').read_bytes()
        shutil.copytree(directory, new.host.paths[0], dirs_exist_ok=True)
        new.start()
        assert waiting.eventually(
            lambda: 'of version 1, from older' in new.log_text(), agents.LONG
        ), new.log_text()
        assert (new.host.paths[0] / 'location.json').read_bytes() == before
