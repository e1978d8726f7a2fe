"""Which instances of this node sit on which base file."""

import dataclasses
import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence

from tmpl_glance_store.imagecache import qemu_img

LOG = logging.getLogger(__name__)

_HEADER = 4096  # bytes; enough for the name of a backing file
_MAGIC = b'QFI\xfb'


class Instances:
    """The disks below Nova's directory of instances."""

    def __init__(self, instances_path: str) -> None:
        self._path = instances_path
        self._lock = threading.Lock()
        self._known: dict[str, _Disk] = {}

    def by_base(self) -> Mapping[str, Sequence[str]]:
        """Return the names of instances, by the names of base files.

        Not by their paths: Nova may be in a container, and see others.
        qemu-img is asked once for each disk, and again when its header has
        changed.
        """
        found: dict[str, list[str]] = {}
        with self._lock:
            self._known = {name: self._look(name, disk)
                           for name, disk in self._disks()}
            for name, disk in self._known.items():
                for path in disk.chain:
                    found.setdefault(os.path.basename(path), []).append(name)
        return found

    def _look(self, name: str, path: str) -> '_Disk':
        known = self._known.get(name)
        try:
            header = _read_header(path)
            if known is not None and known.header == header:
                return known
            return _Disk(header, tuple(qemu_img.backing_chain(path)))
        except (qemu_img.Failed, OSError, ValueError, KeyError) as exc:
            LOG.debug('Disk %s: %s', path, exc)
            return _Disk(b'', ())

    def _disks(self) -> list[tuple[str, str]]:
        """Return (instance, path) of the disks that may have a base file.

        A raw disk is its guest's own: what it begins with may be a forged
        header, which names whatever the guest likes.
        """
        disks = []
        try:
            names = sorted(os.listdir(self._path))
        except OSError:
            return []
        for name in names:
            disk = os.path.join(self._path, name, 'disk')
            if _is_qcow2(disk, os.path.join(self._path, name, 'disk.info')):
                disks.append((name, disk))
        return disks


@dataclasses.dataclass(frozen=True)
class _Disk:
    """A disk as it was: its header, and the paths that it sits on."""

    header: bytes
    chain: tuple[str, ...]


def _is_qcow2(disk: str, info: str) -> bool:
    try:
        with open(info, 'rb') as file:
            # Nova's record of the formats; imagebackend.py writes it.
            return json.load(file).get(disk) == 'qcow2'
    except (OSError, ValueError, AttributeError):
        pass
    try:
        return _read_header(disk).startswith(_MAGIC)
    except OSError:
        return False


def _read_header(path: str) -> bytes:
    """Return how a file begins; nothing that is none makes us wait."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.pread(fd, _HEADER, 0)
    finally:
        os.close(fd)
