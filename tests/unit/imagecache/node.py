# SPDX-License-Identifier: Apache-2.0
"""A compute node without Nova: directories, copies, and an image cache."""

import os
import pathlib
import queue
import types

from harness.host import digest_of
from tests.unit.imagecache.parts import Clock
from tests.unit.imagecache.parts import opened
from tmpl_glance_store import imagecache
from tmpl_glance_store import layout
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import states
from tmpl_glance_store.options import nova as opts

EPOCH = 1_000_000_000.0


class Node:
    """An image cache over one location; time passes when a test says so.

    :param options: of :class:`NovaOptions`, where they are not the usual
    """

    def __init__(self, root, **options):
        self.root = root / 'location'
        self.base = root / 'instances' / '_base'
        self.base.parent.mkdir(exist_ok=True)
        self.root.mkdir(exist_ok=True)
        self.clock = Clock()
        self.clock.now = EPOCH
        self._ended = queue.SimpleQueue()
        self._held = {}
        self.options = opts.NovaOptions(
            **{
                'instances_path': str(self.base.parent),
                'base_directory': str(self.base),
                'publish': 'hardlink',
                'complete_clones': False,
                'force_raw': False,
                'touch_interval': 3600,
                'lock_timeout': 60,
                'convert_concurrency': 1,
                'max_virtual_size': 1 << 40,
                'user': os.geteuid(),
                'group': os.getegid(),
                'hypervisor_user': 0,
                'mode': 0o644,
                'keep_original': True,
                'fetch_on_boot': True,
                **options,
            }
        )
        self.restart()

    def restart(self):
        """Begin anew, with the same disks."""
        self.cache = imagecache.ImageCache(
            self.options, lambda: self._ended.put(None), self.clock
        )
        opened.append(self.cache)

    def hold(self, data, *images, image_format='raw'):
        """Put a copy of a template with these images here."""
        digest = digest_of(data)
        copy = layout.Paths(str(self.root)).copy(digest)
        os.makedirs(copy)
        pathlib.Path(layout.CopyPaths(copy).image).write_bytes(data)
        self._held[digest] = imagecache.Held(
            types.SimpleNamespace(
                digest=digest, size=len(data), format=image_format
            ),
            images,
            str(self.root),
            copy,
            lambda size: True,
        )
        return digest

    def drop(self, digest):
        """Let a copy go."""
        copy = self._held.pop(digest).copy
        os.unlink(copy.image)

    def run(self, arriving=(), failed=(), images=None, roots=None):
        """Make one pass."""
        return self.cache.run(
            held=list(self._held.values()),
            arriving=dict(arriving),
            failed=failed,
            images=self._images() if images is None else images,
            roots=[str(self.root)] if roots is None else roots,
        )

    def settle(self, **inputs):
        """Make passes until nothing is in preparation."""
        while True:
            outcome = self.run(**inputs)
            if not any(
                each.state == states.PREPARING
                for each in outcome.states.values()
            ):
                return outcome
            self._ended.get(timeout=30)

    def path(self, image):
        """Return where the base file of an image is, or would be."""
        return self.base / imagecache.base_name(image)

    def _images(self):
        return {
            image: digest
            for digest, held in self._held.items()
            for image in held.images
        }


def raw(path, declared, max_virtual_size):
    """Take every image for a raw one, without asking qemu-img."""
    return inspection.Inspected('raw', os.stat(path).st_size)
