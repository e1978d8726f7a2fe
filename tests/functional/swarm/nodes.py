# SPDX-License-Identifier: Apache-2.0
"""Swarms on real libtorrent sessions; those to be killed, in processes.

Nodes have addresses of their own on the loopback network.
"""

import json
import pathlib
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Self

import pytest

pytest.importorskip('libtorrent')

from harness.contents import Content
from tmpl_glance_store import objects
from tmpl_glance_store.swarm import contract
from tmpl_glance_store.swarm import progress
from tmpl_glance_store.swarm import session

MIB = 1 << 20
PATIENCE = 60


class Node:
    """A swarm in this process, and the digests it said had ended."""

    def __init__(self, address: str, **options: Any) -> None:
        self.ended: queue.Queue[str] = queue.Queue()
        self.swarm = session.Swarm(
            host=address, ended=self.ended.put, **{'port': 0, **options}
        )
        self.peer = (address, self.swarm.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.swarm.close()

    def now(self, what: Content) -> progress.Progress:
        result = self.swarm.progress(what.digest)
        assert result is not None
        return result

    def seed(self, what: Content, directory: pathlib.Path) -> None:
        self.swarm.seed(what.template, what.pieces, str(directory))

    def fetch(
        self, what: Content, directory: pathlib.Path, *peers: contract.Peer
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.swarm.fetch(what.template, what.pieces, str(directory))
        self.swarm.connect(what.digest, peers)

    def wait(self, what: Content, state: str = progress.COMPLETE) -> None:
        """Wait for the end of a transfer, which must be *state*."""
        assert self.ended.get(timeout=PATIENCE) == what.digest
        now = self.now(what)
        assert now.state == state, now


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Process:
    """A node in a process of its own."""

    def __init__(
        self,
        role: str,
        address: str,
        directory: pathlib.Path,
        what: Content,
        **options: Any,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tests.functional.swarm.nodes'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=pathlib.Path(__file__).parents[3],
        )
        assert self._process.stdin
        assert self._process.stdout
        print(
            json.dumps(
                {
                    'role': role,
                    'directory': str(directory),
                    'template': what.template.to_json().decode(),
                    'pieces': what.pieces.hex(),
                    'options': {'host': address, 'port': 0, **options},
                }
            ),
            file=self._process.stdin,
            flush=True,
        )
        self.peer = (address, int(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def _run_process() -> None:
    """Be the other side of :class:`Process`, until killed."""
    order = json.loads(sys.stdin.readline())
    swarm = session.Swarm(**order['options'])
    template = objects.Template.from_json(order['template'])
    begin = swarm.seed if order['role'] == 'seed' else swarm.fetch
    begin(template, bytes.fromhex(order['pieces']), order['directory'])
    print(swarm.port, flush=True)
    sys.stdin.read()
    swarm.close()


if __name__ == '__main__':
    _run_process()
