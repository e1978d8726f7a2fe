# SPDX-License-Identifier: Apache-2.0
"""Which instances of this node sit on which base file."""

import json
import os
import stat
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence

_MAGIC = b'QFI\xfb'
_HEADER = struct.Struct('>4sIQI')  # magic, version, where the name is, length
_MAX_NAME = 1023  # bytes; docs/interop/qcow2.txt
_MAX_INFO = 64 << 10  # bytes of disk.info
_MAX_DEPTH = 32  # disks that one sits on
_PATIENCE = 2  # seconds


class Instances:
    """The disks below Nova's directory of instances.

    The names of backing files are read from the headers, which is what
    ``qemu-img info --backing-chain`` does, but it also opens what they name:
    whoever can write there would have the agent connect to anything. No lock
    is taken: a disk may be a running guest's.
    """

    def __init__(self, instances_path: str) -> None:
        self._path = instances_path
        self._looking = threading.Lock()
        self._known: Mapping[str, Sequence[str]] = {}

    def by_base(self) -> Mapping[str, Sequence[str]]:
        """Return the names of instances, by the names of base files.

        Not by their paths: Nova may be in a container, and see others. While
        somebody else looks, for example because the disk hangs, it is what
        was seen last.
        """
        if self._looking.acquire(timeout=_PATIENCE):
            try:
                self._known = self._look()
            finally:
                self._looking.release()
        return self._known

    def _look(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for name, disk in self._disks():
            for path in self._chain(disk):
                found.setdefault(os.path.basename(path), []).append(name)
        return found

    def _chain(self, disk: str) -> Iterator[str]:
        """Yield what a disk sits on, as far as that is below our directory."""
        path = disk
        for _ in range(_MAX_DEPTH):
            try:
                name = _backing_name(path)
            except OSError:
                return
            if not name:
                return
            yield name
            path = os.path.join(os.path.dirname(path), name)
            if not os.path.realpath(path).startswith(
                os.path.realpath(self._path) + os.sep
            ):
                return

    def _disks(self) -> Iterator[tuple[str, str]]:
        """Yield (instance, path) of the disks that may have a base file.

        A raw disk is its guest's own: what it begins with may be a forged
        header, which names whatever the guest likes.
        """
        try:
            names = sorted(os.listdir(self._path))
        except OSError:
            return
        for name in names:
            disk = os.path.join(self._path, name, 'disk')
            if _is_qcow2(disk, os.path.join(self._path, name, 'disk.info')):
                yield name, disk


def _is_qcow2(disk: str, info: str) -> bool:
    try:
        # Nova's record of the formats, by its own paths; imagebackend.py
        # writes it.
        formats = {
            os.path.basename(path): name
            for path, name in json.loads(_read(info, _MAX_INFO, 0)).items()
        }
        return formats.get('disk') == 'qcow2'
    except (OSError, ValueError, AttributeError):
        pass
    try:
        return _read(disk, len(_MAGIC), 0) == _MAGIC
    except OSError:
        return False


def _backing_name(path: str) -> str:
    """Return the name of a disk's backing file, empty if it has none."""
    header = _read(path, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        return ''
    magic, _, offset, length = _HEADER.unpack(header)
    if magic != _MAGIC or not 0 < length <= _MAX_NAME or offset >= 1 << 63:
        return ''
    name = os.fsdecode(_read(path, length, offset))
    # What is no path of a file (json:, nbd:) is no base file.
    return '' if ':' in name.partition('/')[0] or '\0' in name else name


def _read(path: str, length: int, offset: int) -> bytes:
    """Return some bytes of a file; nothing that is none makes us wait.

    :raises OSError: if it is none, or cannot be read
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileNotFoundError(f'{path} is no file')
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)
