# SPDX-License-Identifier: Apache-2.0
"""The first part of the demo: one node, several SSDs."""

import contextlib
import json
import pathlib
from collections.abc import Callable

from tmpl_glance_store import factory
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.placement import hash_range
from tools import cloud
from tools import layout_table
from tools import stage
from tools import template_image

#: The node's SSDs: here directories, which pretend to be of so many GiB.
LOCATIONS = {'ssd0': 400, 'ssd1': 400, 'ssd2': 800, 'ssd3': 1600}
CLUSTER, NODE = 'demo', 'node1'


class OneNode:
    """A node with four SSDs, which hold what their hash ranges hold."""

    def __init__(self, scene: stage.Stage) -> None:
        self._scene, self._say = scene, scene.say
        self._scratch = scene.scratch
        self._locations = [self._scratch / name for name in LOCATIONS]
        self._catalog_url = f'sqlite:///{self._scratch}/catalog.sqlite'
        self.cloud = cloud.Cloud(
            scene,
            self._scratch / 'glance',
            {
                'tmpl_store_cluster': CLUSTER,
                'tmpl_store_node': NODE,
                'tmpl_store_catalog': self._catalog_url,
                'tmpl_store_reserve': 0,  # whoever's disk it is may be full
                'tmpl_store_locations': [
                    f'ssd:{self._scratch / name}:{weight}'
                    for name, weight in LOCATIONS.items()
                ],
            },
        )

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return what is shown, in order."""
        return {
            'Start the Glance API with four SSD locations': self.cloud.start,
            'Upload it with the OpenStack client': self._upload,
            'Compare its hash with the hash ranges': self._show_placement,
            'Make a linked clone, and read the stored template through it': (
                self._clone
            ),
            'Download it again': lambda: self.cloud.save_image('template'),
            'Upload the same content as another image': self._upload_again,
            'Delete both images': self._delete,
        }

    def _upload(self) -> None:
        self.cloud.create_image('template')
        image = self.cloud.show_image('template')
        stage.check(
            image['status'] == 'active', f'the image is {image["status"]}'
        )
        stage.check(
            image['size'] == self._scene.template.size,
            f'Glance has {image["size"]} bytes of it',
        )
        location = image['properties']['locations'][0]
        self._digest = location['url'].split('/')[4]
        self._say(f'checksum {image["checksum"]}')
        self._say(f'digest   {self._digest}')
        self._say(f'URL      {location["url"]}')

    def _show_placement(self) -> None:
        copies = self._copies()
        stage.check(
            len(copies) == 1, f'there are {len(copies)} copies, not one'
        )
        self._stored = copies[0] / 'image'
        facts = json.loads((copies[0] / 'template.json').read_text())
        position = facts['position']
        ranges = self._hash_ranges()
        self._say(f'position {position:016x} (XXH3-64 of its content)')
        for line in layout_table.render(ranges, position):
            self._say(line)
        owner = layout_table.owner_of(position, ranges)[2].path
        where = self._scene.short(str(self._stored.parent))
        self._say(f'the copy is in {where}')
        stage.check(
            self._stored.is_relative_to(owner),
            f'the copy is not on {owner}, which owns its position',
        )

    def _clone(self) -> None:
        clone = self._scratch / 'clone.qcow2'
        self.cloud.run(
            'qemu-img',
            'create',
            '-q',
            '-f',
            'qcow2',
            '-b',
            str(self._stored),
            '-F',
            'qcow2',
            str(clone),
        )
        chain = json.loads(
            template_image.run(
                'qemu-img', 'info', '--backing-chain', '--output=json', clone
            )
        )
        stage.check(
            [each['filename'] for each in chain]
            == [str(clone), str(self._stored)],
            f'the chain is {chain}',
        )
        self._say(
            f'chain: {clone.name}, {clone.stat().st_size >> 10} KiB, '
            f'backed by the stored copy'
        )
        self._say(
            self.cloud.run(
                'qemu-img',
                'compare',
                str(clone),
                str(self._scene.template.path),
            )
        )
        self._read_disk(clone)
        self._write_into(clone)
        clone.unlink()

    def _read_disk(self, clone: pathlib.Path) -> None:
        """Read the whole disk through the chain, and check what is on it."""
        disk = self._scratch / 'clone.raw'
        template_image.run('qemu-img', 'convert', '-O', 'raw', clone, disk)
        report = template_image.check_disk(
            disk, self._scene.template.root_offset
        )
        self._say(f'read through the clone: valid GPT, clean ext4 ({report})')
        disk.unlink()

    def _write_into(self, clone: pathlib.Path) -> None:
        """A guest writes: it must not get through to the template."""
        self.cloud.run('qemu-io', '-c', 'write -q -P 0xa5 4M 8M', str(clone))
        stage.check(
            stage.sha256(self._stored) == self._scene.sha256,
            'writing to the clone changed the template',
        )
        size = stage.mib(clone.stat().st_size)
        self._say(
            f'the clone has {size} of its own, the template is untouched'
        )

    def _upload_again(self) -> None:
        before = self._used()
        self.cloud.create_image('same-content')
        added = self._used() - before
        self._say(
            f'{len(self._copies())} copy on the disks, {added} bytes added'
        )
        stage.check(
            len(self._copies()) == 1 and added == 0,
            'the same content was stored twice',
        )

    def _delete(self) -> None:
        self.cloud.delete_image('template')
        stage.check(
            stage.sha256(self._stored) == self._scene.sha256,
            'deleting one image took the content from the other one',
        )
        self._say('the other image still has its content')
        self.cloud.delete_image('same-content')
        left = [
            path
            for name in ('templates', 'incoming', 'quarantine')
            for location in self._locations
            for path in (location / name).rglob('*')
        ]
        stage.check(not left, f'left behind: {", ".join(map(str, left))}')
        self._say(f'nothing is left in the {len(self._locations)} locations')

    def _hash_ranges(self) -> list[layout_table.Range]:
        store = factory.build_catalog_store(self._catalog_url)
        with contextlib.closing(catalog.Catalog(store, CLUSTER)) as cluster:
            return list(
                hash_range.HashRange(cluster.locations.all(), 1).ranges()
            )

    def _copies(self) -> list[pathlib.Path]:
        return [
            path
            for location in self._locations
            for path in location.glob('templates/??/*')
        ]

    def _used(self) -> int:
        """Return the bytes that files take up in all the locations."""
        return sum(
            path.stat().st_blocks * 512
            for location in self._locations
            for path in location.rglob('*')
            if path.is_file()
        )
