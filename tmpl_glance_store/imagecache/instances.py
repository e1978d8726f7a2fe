"""Which instances of this node sit on which base file."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping

from tmpl_glance_store.imagecache import qemu_img

LOG = logging.getLogger(__name__)

_FRESH = 30  # seconds for which an answer is good
_MAGIC = b'QFI\xfb'


class Instances:
    """The disks below Nova's directory of instances."""

    def __init__(self, instances_path: str,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._path = instances_path
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, ...]] = {}
        self._looked_at: float | None = None

    def by_base(self) -> Mapping[str, tuple[str, ...]]:
        """Return the names of instances, by the base file's path.

        As it was up to half a minute ago: each disk is a run of qemu-img.
        """
        with self._lock:
            now = self._clock()
            if self._looked_at is None or now - self._looked_at > _FRESH:
                self._known = self._look()
                self._looked_at = self._clock()
            return self._known

    def _look(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for name, disk in self._disks():
            try:
                for path in qemu_img.backing_chain(disk):
                    found.setdefault(path, []).append(name)
            except (qemu_img.Failed, ValueError, KeyError) as exc:
                LOG.debug('Disk %s: %s', disk, exc)
        return {path: tuple(names) for path, names in found.items()}

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


def _is_qcow2(disk: str, info: str) -> bool:
    try:
        with open(info, 'rb') as file:
            # Nova's record of the formats; imagebackend.py writes it.
            return json.load(file).get(disk) == 'qcow2'
    except (OSError, ValueError, AttributeError):
        pass
    try:
        with open(disk, 'rb') as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
