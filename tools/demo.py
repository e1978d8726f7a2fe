"""Show, on one machine, that a template lands where its hash says.

Runs the real Glance API with the store over several SSD locations, and drives
it with the real OpenStack client and qemu. Ends by itself and leaves nothing
behind; the exit code is 0 only if every step held. With KEEP=1 in the
environment Glance then stays up for playing, until Ctrl-C.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from importlib import metadata
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tests.functional import glance
from tmpl_glance_store import factory
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.placement import hash_range
from tools import layout_table
from tools import template_image
from tools import terminal

MIB = 1 << 20

#: Bytes of files in the template, and bytes that the demo needs on the disk.
DATA_SIZE = 400 * MIB
ROOM = 6 * DATA_SIZE

#: The node's SSDs: here directories, which pretend to be of so many GiB.
LOCATIONS = {'ssd0': 400, 'ssd1': 400, 'ssd2': 800, 'ssd3': 1600}
CLUSTER, NODE = 'demo', 'node1'

END_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class StepFailed(Exception):
    """Something that the demo shows does not hold."""


def check(holds: object, otherwise: str) -> None:
    """Fail the step unless *holds*; *otherwise* says what is wrong."""
    if not holds:
        raise StepFailed(otherwise)


class Demo:
    """The steps, in order, and what each leaves to the following ones.

    :param scratch: directory for everything
    """

    def __init__(self, scratch: pathlib.Path,
                 screen: terminal.Terminal) -> None:
        self._scratch = scratch
        self._screen, self._say = screen, screen.say
        self._locations = [scratch / name for name in LOCATIONS]
        self._catalog_url = f'sqlite:///{scratch}/catalog.sqlite'
        self.server = self._new_server()
        # The user's own cloud must not get in the way.
        self._environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith('OS_')} | self.client_environment()

    def client_environment(self) -> dict[str, str]:
        """Return what lets any OpenStack client talk to this Glance."""
        return {'OS_AUTH_TYPE': 'none', 'OS_ENDPOINT': self.server.url,
                'no_proxy': '127.0.0.1'}

    def run(self) -> None:
        """Go through all the steps.

        :raises StepFailed: and other errors, if one does not hold
        """
        steps = {
            'Make a template: GPT, ext4, real files': self._make_template,
            'Start the Glance API with four SSD locations': self._start,
            'Upload it with the OpenStack client': self._upload,
            'Compare its hash with the hash ranges': self._show_placement,
            'Make a linked clone, and read the stored template through it':
                self._clone,
            'Download it again': self._download,
            'Upload the same content as another image': self._upload_again,
            'Delete both images': self._delete,
        }
        for number, (name, step) in enumerate(steps.items(), 1):
            with self._screen.step(f'{number}/{len(steps)}', name):
                step()

    def _new_server(self) -> glance.GlanceServer:
        return glance.GlanceServer(
            self._scratch / 'glance', processes=2, threads=4,
            backends={'fast': 'tmpl'}, sections={'fast': {
                'tmpl_store_cluster': CLUSTER, 'tmpl_store_node': NODE,
                'tmpl_store_catalog': self._catalog_url,
                'tmpl_store_reserve': 0,  # whoever's disk it is may be full
                'tmpl_store_locations': [
                    f'ssd:{self._scratch / name}:{weight}'
                    for name, weight in LOCATIONS.items()]}})

    def _make_template(self) -> None:
        check(shutil.disk_usage(self._scratch).free > ROOM,
              f'{self._scratch} has no {ROOM // MIB} MiB free; '
              f'set TMPDIR to a directory that has')
        self.template = template_image.make_template(self._scratch, DATA_SIZE)
        self._sha256 = _sha256(self.template.path)
        self._say(f'{self.template.path.name}: {_mib(self.template.size)} '
                  f'of qcow2 with {self.template.files} files, a disk of '
                  f'{_mib(self.template.virtual_size)}')

    def _start(self) -> None:
        self.server.start()
        self._say(f'Glance {metadata.version("glance")} on uWSGI '
                  f'{metadata.version("uwsgi")}, 2 processes of 4 threads, '
                  f'at {self.server.url}')
        self._say(f'log: {self.server.log}')

    def _upload(self) -> None:
        self._create_image('template')
        image = self._show_image('template')
        check(image['status'] == 'active', f'the image is {image["status"]}')
        check(image['size'] == self.template.size,
              f'Glance has {image["size"]} bytes of it')
        location = image['properties']['locations'][0]
        self._digest = location['url'].split('/')[4]
        self._say(f'checksum {image["checksum"]}')
        self._say(f'digest   {self._digest}')
        self._say(f'URL      {location["url"]}')

    def _show_placement(self) -> None:
        copies = self._copies()
        check(len(copies) == 1, f'there are {len(copies)} copies, not one')
        self._stored = copies[0] / 'image'
        facts = json.loads((copies[0] / 'template.json').read_text())
        position = facts['position']
        ranges = self._hash_ranges()
        self._say(f'position {position:016x} (XXH3-64 of its content)')
        for line in layout_table.render(ranges, position):
            self._say(line)
        owner = layout_table.owner_of(position, ranges)[2].path
        self._say(f'the copy is in {self._short(str(self._stored.parent))}')
        check(self._stored.is_relative_to(owner),
              f'the copy is not on {owner}, which owns its position')

    def _clone(self) -> None:
        clone = self._scratch / 'clone.qcow2'
        self._run('qemu-img', 'create', '-q', '-f', 'qcow2',
                  '-b', str(self._stored), '-F', 'qcow2', str(clone))
        chain = json.loads(template_image.run(
            'qemu-img', 'info', '--backing-chain', '--output=json', clone))
        check([each['filename'] for each in chain]
              == [str(clone), str(self._stored)], f'the chain is {chain}')
        self._say(f'chain: {clone.name}, {clone.stat().st_size >> 10} KiB, '
                  f'backed by the stored copy')
        self._say(self._run('qemu-img', 'compare', str(clone),
                            str(self.template.path)))
        self._read_disk(clone)
        self._write_into(clone)
        clone.unlink()

    def _read_disk(self, clone: pathlib.Path) -> None:
        """Read the whole disk through the chain, and check what is on it."""
        disk = self._scratch / 'clone.raw'
        template_image.run('qemu-img', 'convert', '-O', 'raw', clone, disk)
        report = template_image.check_disk(disk, self.template.root_offset)
        self._say(f'read through the clone: valid GPT, clean ext4 ({report})')
        disk.unlink()

    def _write_into(self, clone: pathlib.Path) -> None:
        """A guest writes: it must not get through to the template."""
        self._run('qemu-io', '-c', 'write -q -P 0xa5 4M 8M', str(clone))
        check(_sha256(self._stored) == self._sha256,
              'writing to the clone changed the template')
        self._say(f'the clone has {_mib(clone.stat().st_size)} of its own, '
                  f'the template is untouched')

    def _download(self) -> None:
        path = self._scratch / 'download.qcow2'
        self._run('openstack', 'image', 'save', '--file', str(path),
                  'template')
        sha256 = _sha256(path)
        path.unlink()
        self._say(f'sha256 {sha256}')
        check(sha256 == self._sha256, f'sent was {self._sha256}')

    def _upload_again(self) -> None:
        before = self._used()
        self._create_image('same-content')
        added = self._used() - before
        self._say(f'{len(self._copies())} copy on the disks, '
                  f'{added} bytes added')
        check(len(self._copies()) == 1 and added == 0,
              'the same content was stored twice')

    def _delete(self) -> None:
        self._run('openstack', 'image', 'delete', 'template')
        check(_sha256(self._stored) == self._sha256,
              'deleting one image took the content from the other one')
        self._say('the other image still has its content')
        self._run('openstack', 'image', 'delete', 'same-content')
        left = [path for name in ('templates', 'incoming', 'quarantine')
                for location in self._locations
                for path in (location / name).rglob('*')]
        check(not left, f'left behind: {", ".join(map(str, left))}')
        self._say(f'nothing is left in the {len(self._locations)} locations')

    def _create_image(self, name: str) -> None:
        self._run('openstack', 'image', 'create', '--progress',
                  '--disk-format', 'qcow2', '--container-format', 'bare',
                  '--file', str(self.template.path),
                  '-f', 'value', '-c', 'status', name)

    def _show_image(self, name: str) -> dict[str, Any]:
        return json.loads(subprocess.run(
            [glance.program('openstack'), 'image', 'show', '-f', 'json', name],
            env=self._environment, check=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True).stdout)

    def _run(self, name: str, *arguments: str) -> str:
        """Show a command, run it, and return what it prints."""
        self._screen.command(name, *map(self._short, arguments))
        return self._screen.run([glance.program(name), *arguments],
                                self._environment)

    def _short(self, text: str) -> str:
        text = text.replace(f'{self._scratch}/', '')
        return re.sub(r'\b([0-9a-f]{8})[0-9a-f]{56}\b', r'\1...', text)

    def _hash_ranges(self) -> list[layout_table.Range]:
        store = factory.build_catalog_store(self._catalog_url)
        with contextlib.closing(catalog.Catalog(store, CLUSTER)) as cluster:
            return list(hash_range.HashRange(cluster.locations(), 1).ranges())

    def _copies(self) -> list[pathlib.Path]:
        return [path for location in self._locations
                for path in location.glob('templates/??/*')]

    def _used(self) -> int:
        """Return the bytes that files take up in all the locations."""
        return sum(path.stat().st_blocks * 512
                   for location in self._locations
                   for path in location.rglob('*') if path.is_file())


def keep(demo: Demo, screen: terminal.Terminal) -> None:
    """Leave Glance up until Ctrl-C, and say how to use it."""
    screen.title('Glance stays up. In another terminal:')
    for name, value in demo.client_environment().items():
        screen.say(f'export {name}={value}')
    screen.say(f'export PATH={pathlib.Path(sys.executable).parent}:$PATH')
    screen.say(f'openstack image create --progress --disk-format qcow2 '
               f'--file {demo.template.path} my-template')
    screen.title('Ctrl-C ends it and removes everything.')
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def explain(error: Exception) -> str:
    """Return what a person needs to know about *error*."""
    if isinstance(error, subprocess.CalledProcessError):
        command = ' '.join(map(str, error.cmd))
        return f'{command}\nexit code {error.returncode}\n{error.output}'
    return f'{type(error).__name__}: {error}'


def interrupt(_signum: int, _frame: types.FrameType | None) -> None:
    """End like on Ctrl-C, but only once: tox passes a second one on."""
    for each in END_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; return the exit code."""
    for each in END_SIGNALS:
        signal.signal(each, interrupt)
    screen = terminal.Terminal()
    # /var/tmp is on a disk where /tmp may be a small one in memory.
    with (tempfile.TemporaryDirectory(
            prefix='tmpl-demo-', dir=os.environ.get('TMPDIR') or '/var/tmp')
            as scratch, contextlib.ExitStack() as cleanup):
        demo = Demo(pathlib.Path(scratch), screen)
        cleanup.callback(demo.server.kill)
        try:
            demo.run()
            if os.environ.get('KEEP', '0') not in ('', '0'):
                keep(demo, screen)
            else:
                demo.server.stop()
        except KeyboardInterrupt:
            screen.title('Interrupted.')
            return 130
        except Exception as error:
            screen.failure(explain(error), demo.server.log_tail(20))
            return 1
    screen.title('Every step held.')
    return 0


def _sha256(path: pathlib.Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _mib(size: int) -> str:
    return f'{size / MIB:.0f} MiB'


if __name__ == '__main__':
    sys.exit(main())
