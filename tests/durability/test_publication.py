# SPDX-License-Identifier: Apache-2.0
"""A power cut at any instant of the publication of a base file."""

import json
import os
import pathlib
import threading

import pytest

from harness import host as hosts
from harness.host import Host
from tests.durability import model
from tests.durability import replay
from tests.durability import rooms
from tmpl_glance_store import imagecache
from tmpl_glance_store.options import nova as opts

DATA = hosts.content(3000, 'base file')


class Node:
    """A compute node with a template: what its agent does of publishing."""

    def __init__(self, root: pathlib.Path, publish: str) -> None:
        self.host = Host(root, 'ssd:a')
        instances = root / 'instances'
        (instances / '_base').mkdir(parents=True)
        self._repo = self.host.parts()
        self.image = hosts.add(self._repo, DATA)
        record = self._repo.catalog.bindings.template(self.image.digest)
        assert record is not None
        paths = self._repo.store.locations[0].paths
        self._held = imagecache.Held(
            record.template,
            record.images,
            paths.root,
            paths.copy(self.image.digest),
            lambda size: True,
        )
        self._options = opts.NovaOptions(
            instances_path=str(instances),
            base_directory=str(instances / '_base'),
            publish=publish,
            complete_clones=False,
            force_raw=False,
            touch_interval=3600,
            lock_timeout=60,
            convert_concurrency=1,
            max_virtual_size=1 << 40,
            user=None,
            group=None,
            hypervisor_user=None,
            mode=0o444,
            keep_original=False,
            fetch_on_boot=False,
        )

    @property
    def base(self) -> pathlib.Path:
        """The base file."""
        return pathlib.Path(
            self._options.base_directory,
            imagecache.base_name(self.image.image_id),
        )

    def publish(self) -> imagecache.State:
        """Let a new agent publish, and return what it has come to."""
        ended = threading.Event()
        cache = imagecache.ImageCache(self._options, ended.set)
        try:
            while True:
                ended.clear()
                state = self._pass(cache)
                if state.state != 'preparing':
                    return state
                assert ended.wait(10)
        finally:
            cache.close()

    def _pass(self, cache: imagecache.ImageCache) -> imagecache.State:
        return cache.run(
            held=[self._held],
            arriving={},
            failed=(),
            images={self.image.image_id: self.image.digest},
            roots=[self._held.root],
        ).states[self.image.image_id]


@pytest.mark.parametrize('way', ['hardlink', 'symlink', 'copy'])
def test_a_base_file_is_whole_and_in_the_ledger(
    root: pathlib.Path, way: str
) -> None:
    node = Node(root, publish=way)
    with rooms.record(node.host) as seen:
        assert node.publish().state == 'published'
        seen.promise('published')
    for instant, left in replay.after_each(seen.instants, root):
        try:
            examine(node, instant, left)
        except BaseException as exc:
            rooms.explain(exc, instant, left)
            raise


def examine(node: Node, instant: model.Instant, left: model.Remains) -> None:
    """See whether Nova can use what is there, and the agent knows it."""
    renumber(node.host.paths[0] / 'published', instant, left, node.host.root)
    was_there = os.path.lexists(node.base)
    assert was_there or 'published' not in instant.promises
    if was_there:
        assert node.base.read_bytes() == DATA
    # Were it not in the ledger, it would be taken for Nova's own.
    assert node.publish().state == 'published'
    assert [each.name for each in node.base.parent.iterdir()] == [
        node.base.name
    ]


def renumber(
    ledger: pathlib.Path,
    instant: model.Instant,
    left: model.Remains,
    root: pathlib.Path,
) -> None:
    """Let the ledger name the inodes as they are numbered now."""
    now = {
        instant.kernel[inode]: os.lstat(root / name).st_ino
        for name, inode, _ in left.tree
        if inode in instant.kernel
    }
    for path in ledger.glob('[!.]*.json'):
        fields = json.loads(path.read_bytes())
        fields['inode'] = now.get(fields['inode'], 0)
        path.chmod(0o644)
        path.write_text(json.dumps(fields))
