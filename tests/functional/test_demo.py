# SPDX-License-Identifier: Apache-2.0
"""The demo: it holds, and whatever happens it leaves nothing behind."""

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness import waiting

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def demo(tmp_path: pathlib.Path) -> Iterator['subprocess.Popen[str]']:
    """The demo, started, with its output in a pipe."""
    environment = {
        name: value for name, value in os.environ.items() if name != 'KEEP'
    }
    with subprocess.Popen(
        [sys.executable, REPOSITORY / 'tools' / 'demo.py'],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment, 'TMPDIR': str(tmp_path)},
    ) as process:
        yield process
        process.kill()


def programs_in(directory: pathlib.Path) -> list[bytes]:
    """Return the command lines of all processes that name *directory*."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
        try:
            command = path.read_bytes()
        except OSError:  # it has just ended
            continue
        if os.fsencode(directory) in command:
            found.append(command)
    return found


def test_every_step_of_the_demo_holds(
    demo: 'subprocess.Popen[str]', tmp_path: pathlib.Path
) -> None:
    output, _ = demo.communicate(timeout=600)
    assert demo.returncode == 0, output
    assert output.count(' ok ') == 18
    assert '100%' in output
    assert programs_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('signum', 'returncode'), [(signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_an_interrupted_demo_leaves_nothing_running(
    demo: 'subprocess.Popen[str]',
    tmp_path: pathlib.Path,
    signum: signal.Signals,
    returncode: int,
) -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        if 'image create' in line:  # Glance is up, an upload begins
            break
    assert programs_in(tmp_path) != []
    demo.send_signal(signum)
    assert demo.wait(60) == returncode
    waiting.wait_for(lambda: programs_in(tmp_path) == [], 'all to end')
    if signum != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []
