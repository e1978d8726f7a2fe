# SPDX-License-Identifier: Apache-2.0
"""Whether an image may be given to a hypervisor.

What Nova asks of a download, and Cinder of an image. A format declared to
Glance is not known here (stores are not told), so the one that was found at
the upload stands for it.

Source: ``do_image_deep_inspection`` and ``fetch_to_raw`` in
nova/virt/images.py.
"""

import dataclasses
import os
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store.disk_images import formats
from tmpl_glance_store.disk_images import qemu_img

_VMDK_TYPES = frozenset(('streamOptimized', 'monolithicSparse'))
# The disk in an image may take so many times the image's bytes at most; what
# operating systems consist of grows five times.
_MAX_GROWTH = 100
_HARMLESS = 256 << 20  # bytes


class Refused(exceptions.TmplError):
    """An image that must not be given to a hypervisor; says why."""


class TooLarge(Refused):
    """An image whose disk is larger than the caller allows."""


@dataclasses.dataclass(frozen=True)
class Inspected:
    """A harmless image; ``virtual_size`` of its disk in bytes."""

    format: str
    virtual_size: int


def inspect(
    path: str, declared: str | None, max_virtual_size: int
) -> Inspected:
    """Return what the image file *path* is, if it is harmless.

    :param declared: the format that it is taken for, None if unclear
    :param max_virtual_size: bytes that its disk may have
    :raises TooLarge: if its disk has more
    :raises Refused: if it is not harmless, or qemu-img comes to its limits
    :raises Unavailable: if qemu-img is hindered
    :raises OSError: if it cannot be read
    """
    found = _find_format(path)
    image_format = formats.RAW if found in formats.AS_RAW else found
    taken_for = formats.RAW if declared in formats.AS_RAW else declared
    if declared is not None and image_format != taken_for:
        raise Refused(f'it is {found}, and was {declared} when uploaded')
    if image_format == 'luks':
        raise Refused('it is encrypted, and the key is not here')
    fd = os.open(path, os.O_RDONLY)
    try:
        return Inspected(
            image_format, _ask_qemu(fd, image_format, max_virtual_size)
        )
    except qemu_img.Failed as exc:
        raise Refused(str(exc)) from exc
    finally:
        os.close(fd)


def require_raw(path: str, fd: int) -> None:
    """Make sure that a conversion to raw is nothing else in turn.

    A disk may contain an image that names files of the host, and nobody asks
    a raw file again what it was converted from.

    Source: ``fetch_to_raw`` in nova/virt/images.py ("Converted to raw, but
    format is now").

    :param fd: descriptor of the file *path*
    :raises Refused: if it is
    :raises Unavailable: if qemu-img is hindered
    """
    found = _find_format(path)
    if found not in formats.AS_RAW:
        raise Refused(f'its disk is a {found} image in turn')
    try:
        said = qemu_img.info(fd).get('format')
    except qemu_img.Failed as exc:
        raise Refused(f'its disk: {exc}') from exc
    if said != formats.RAW:
        raise Refused(f'its disk is a {said} image in turn')


def allowance(length: int) -> int:
    """Return the bytes that the disk in an image may take.

    :param length: of the image, in bytes
    """
    return max(length * _MAX_GROWTH, _HARMLESS)


def _find_format(path: str) -> str:
    try:
        return formats.inspect(path)
    except formats.Unsafe as exc:
        raise Refused(f'the format inspector: {exc}') from exc


def _ask_qemu(fd: int, image_format: str, max_virtual_size: int) -> int:
    """Return the virtual size of an image in bytes, if it is harmless."""
    # Without a format, as Nova asks before each clone: what qemu-img takes
    # for another one would be opened as that.
    said = qemu_img.info(fd)
    _check_description(said, image_format)
    size = int(said['virtual-size'])
    if size > max_virtual_size:
        raise TooLarge(
            f'it describes a disk of {size} bytes, more than the '
            f'{max_virtual_size} allowed'
        )
    if image_format == 'qcow2':
        _check_clusters(fd, int(said['cluster-size']))
    return size


def _check_description(said: dict[str, Any], image_format: str) -> None:
    """Refuse what qemu-img takes for something else, or consists of more."""
    if said.get('format') != image_format:
        raise Refused(
            f'it is {image_format} to the format inspector, and '
            f'{said.get("format")} to qemu-img'
        )
    if said.get('backing-filename') or said.get('full-backing-filename'):
        raise Refused('it has a backing file')
    details = said.get('format-specific', {}).get('data', {})
    if details.get('data-file'):
        raise Refused('it has an external data file')
    if (
        image_format == 'vmdk'
        and details.get('create-type') not in _VMDK_TYPES
    ):
        raise Refused(f'it is a VMDK of type {details.get("create-type")!r}')


def _check_clusters(fd: int, cluster_size: int) -> None:
    """Refuse a qcow2 that is damaged, cut short, or a bomb."""
    counted = qemu_img.check(fd, 'qcow2')
    problems = counted.get('corruptions', 0) + counted.get('check-errors', 0)
    if problems:
        raise Refused(f'it is damaged in {problems} places')
    length = os.fstat(fd).st_size
    if counted.get('image-end-offset', 0) > _round_up(length, cluster_size):
        raise Refused('it is cut short')
    grown = counted.get('compressed-clusters', 0) * cluster_size
    if grown > allowance(length):
        raise Refused(f'{length} bytes would grow to {grown}')


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
