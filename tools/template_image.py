# SPDX-License-Identifier: Apache-2.0
"""Make a template like the real ones: a partitioned disk, in qcow2.

Neither root nor a loop device is needed: sfdisk and mkfs.ext4 write into a
plain file. The content is a part of this machine's own files.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator

from harness.programs import program

MIB = 1 << 20

# A GPT as cloud images have it: GRUB's partition for BIOS, then the root.
_PARTITION_TABLE = """\
label: gpt
start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=boot
start=2MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=root
"""

# Large files fill a file system fast; tiny ones would take most of the time.
_FILE_SIZES = range(32 << 10, 48 * MIB)


@dataclasses.dataclass(frozen=True)
class TemplateImage:
    """A qcow2 file at *path*; ``root_offset`` is where its ext4 begins."""

    path: pathlib.Path
    files: int
    virtual_size: int
    root_offset: int

    @property
    def size(self) -> int:
        """Bytes of the qcow2 file."""
        return self.path.stat().st_size


def make_template(directory: pathlib.Path, data_size: int) -> TemplateImage:
    """Return a new template in *directory* with about *data_size* bytes.

    :raises subprocess.CalledProcessError: if a tool fails
    """
    tree, disk = directory / 'tree', directory / 'disk.raw'
    files = _copy_files(tree, data_size)
    virtual_size = 2 * data_size
    disk.touch()
    os.truncate(disk, virtual_size)
    run('sfdisk', '--quiet', disk, stdin=_PARTITION_TABLE)
    root = _partitions(disk)[-1]
    run(
        'mkfs.ext4',
        '-q',
        '-F',
        '-L',
        'root',
        '-d',
        tree,
        '-E',
        f'offset={root["start"]}',
        disk,
        f'{root["size"] >> 10}k',
    )
    shutil.rmtree(tree)
    path = directory / 'template.qcow2'
    run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', disk, path)
    disk.unlink()
    return TemplateImage(path, files, virtual_size, root['start'])


def check_disk(disk: pathlib.Path, root_offset: int) -> str:
    """Prove the partition table and the file system of a raw *disk*.

    :returns: e2fsck's summary
    :raises subprocess.CalledProcessError: if one of them is damaged
    """
    run('sfdisk', '--quiet', '--verify', disk)
    report = run('e2fsck', '-f', '-n', f'{disk}?offset={root_offset}')
    return report.strip().splitlines()[-1].split(': ', 1)[-1]


def backing_chain(disk: pathlib.Path) -> list[str]:
    """Return the files that a qcow2 disk consists of, the disk first."""
    return [
        each['filename']
        for each in json.loads(
            run('qemu-img', 'info', '--backing-chain', '--output=json', disk)
        )
    ]


def run(
    name: str, *arguments: str | os.PathLike[str], stdin: str | None = None
) -> str:
    """Return what the program *name* prints.

    :raises subprocess.CalledProcessError: if it fails
    """
    return subprocess.run(
        [program(name), *arguments],
        input=stdin,
        text=True,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ).stdout


def _partitions(disk: pathlib.Path) -> list[dict[str, int]]:
    """Return start and size in bytes of each partition of *disk*."""
    table = json.loads(run('sfdisk', '--json', disk))['partitiontable']
    return [
        {
            name: partition[name] * table['sectorsize']
            for name in ('start', 'size')
        }
        for partition in table['partitions']
    ]


def _copy_files(tree: pathlib.Path, data_size: int) -> int:
    """Copy about *data_size* bytes of files into *tree*; return how many."""
    copied = 0
    for source in _own_files():
        data_size -= source.stat().st_size
        if data_size < 0:
            break
        target = tree / source.relative_to('/')
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        copied += 1
    return copied


def _own_files() -> Iterator[pathlib.Path]:
    """Yield files of this machine that anybody may have, in stable order."""
    for root in ('/usr', sys.prefix):
        for directory, subdirectories, names in os.walk(root):
            subdirectories.sort()
            paths = (pathlib.Path(directory, name) for name in sorted(names))
            yield from filter(_suits, paths)


def _suits(path: pathlib.Path) -> bool:
    status = path.lstat()
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_size in _FILE_SIZES
        and os.access(path, os.R_OK)
    )
