# SPDX-License-Identifier: Apache-2.0
"""Threads that share a swarm."""

import os
import threading

import pytest

pytest.importorskip('libtorrent')

from harness.contents import Content
from harness.contents import content
from tests.functional.swarm.nodes import MIB
from tests.functional.swarm.nodes import PATIENCE
from tests.functional.swarm.nodes import Node


def test_threads_may_share_a_swarm(tmp_path, target):
    contents = [content(os.urandom(MIB + n)) for n in range(12)]
    with Node('127.0.0.2') as source:
        for number, each in enumerate(contents):
            each.write(tmp_path / f's{number}')

        def run(number: int, what: Content) -> None:
            source.seed(what, tmp_path / f's{number}')
            target.fetch(what, tmp_path / f't{number}', source.peer)
            for _ in range(20):
                target.now(what)
                source.swarm.connect(what.digest, [target.peer])

        threads = [
            threading.Thread(target=run, args=pair)
            for pair in enumerate(contents)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended = {target.ended.get(timeout=PATIENCE) for _ in contents}

    assert ended == {each.digest for each in contents}
