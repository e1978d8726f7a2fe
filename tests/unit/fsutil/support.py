# SPDX-License-Identifier: Apache-2.0
"""What the tests of fsutil share."""

import os
import stat

import hypothesis

from tmpl_glance_store import fsutil

KIB, MIB = 1 << 10, 1 << 20


def failing(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


def name_of(fd):
    return os.path.basename(os.readlink(f'/proc/self/fd/{fd}'))


def open_files():
    return len(os.listdir('/proc/self/fd'))


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def written(path, chunks, mode=0o444):
    writer = fsutil.SparseWriter(str(path))
    for chunk in chunks:
        writer.write(chunk)
    writer.finish(mode)
    return path.read_bytes()


def data_bytes(path):
    """Return how much of a file is not a hole."""
    with open(path, 'rb') as file:
        return sum(
            end - start
            for start, end in fsutil.data_extents(
                file.fileno(), os.stat(path).st_size
            )
        )


SETTINGS = hypothesis.settings(
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


def copied(source, target):
    """Copy one path to another; return what copy_file() returned."""
    with open(source, 'rb') as read, open(target, 'wb') as write:
        return fsutil.copy_file(read.fileno(), write.fileno())


class Sysfs:
    """A fake of the parts of /sys and /proc that the kernel shows."""

    def __init__(self, root):
        self.root, self.mounts = root / 'sys', root / 'mountinfo'
        self.mounts.write_text('')
        (self.root / 'dev' / 'block').mkdir(parents=True)

    def block(self, name, number, rotational=None, beneath=()):
        """Add a disk or a volume; *number* is ``major:minor``."""
        device = self.root / 'devices' / name
        for each in ('queue', 'slaves'):
            (device / each).mkdir(parents=True)
        if rotational is not None:
            (device / 'queue' / 'rotational').write_text(f'{rotational}\n')
        for each in beneath:
            (device / 'slaves' / each.name).symlink_to(each)
        return self._numbered(device, number)

    def partition(self, disk, name, number):
        """Add a partition: it has neither a queue nor slaves."""
        (disk / name).mkdir()
        (disk / name / 'partition').write_text('1\n')
        return self._numbered(disk / name, number)

    def mount(self, point, source):
        """Append to the mount table."""
        with self.mounts.open('a', encoding='utf-8') as table:
            table.write(
                f'30 1 0:40 /sub {point} rw shared:1 - btrfs {source} '
                f'rw,relatime\n'
            )

    def rotates(self, path):
        return fsutil.rotates(str(path), str(self.root), str(self.mounts))

    def _numbered(self, device, number):
        (self.root / 'dev' / 'block' / number).symlink_to(device)
        return device
