# SPDX-License-Identifier: Apache-2.0
"""What Nova would ask of a download, asked before a template is published.

Source: ``do_image_deep_inspection`` and ``fetch_to_raw`` in
nova/virt/images.py. A format declared to Glance is not known here (stores are
not told), so the one that was found at the upload stands for it.
"""

import dataclasses
import os

from tmpl_glance_store import exceptions
from tmpl_glance_store.disk_images import formats
from tmpl_glance_store.disk_images import qemu_img

RAW = 'raw'

# What a hypervisor reads as it is, whatever is in it.
_AS_RAW = frozenset(('raw', 'gpt', 'iso'))
_VMDK_TYPES = frozenset(('streamOptimized', 'monolithicSparse'))
# What a template contains may take so many times its own bytes at most; what
# operating systems consist of grows five times.
_MAX_GROWTH = 100
_HARMLESS = 256 << 20  # bytes


class Refused(exceptions.TmplError):
    """A template that must not be published; says why."""


@dataclasses.dataclass(frozen=True)
class Inspected:
    """A template that may be published; ``virtual_size`` in bytes."""

    format: str
    virtual_size: int


def inspect(
    path: str, declared: str | None, max_virtual_size: int
) -> Inspected:
    """Return what the image file *path* is, if it may be published.

    :param declared: the format that it is taken for, None if unclear
    :param max_virtual_size: bytes
    :raises Refused: if it may not; also if qemu-img comes to its limits
    :raises Unavailable: if qemu-img is hindered
    :raises OSError: if it cannot be read
    """
    found = _find_format(path)
    image_format = RAW if found in _AS_RAW else found
    taken_for = RAW if declared in _AS_RAW else declared
    if declared is not None and image_format != taken_for:
        raise Refused(f'it is {found}, and was {declared} when uploaded')
    if image_format == 'luks':
        raise Refused('it is encrypted: Nova has the key')
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
    a base file again what it was converted from.

    Source: ``fetch_to_raw`` in nova/virt/images.py ("Converted to raw, but
    format is now").

    :param fd: descriptor of the file *path*
    :raises Refused: if it is
    :raises Unavailable: if qemu-img is hindered
    """
    found = _find_format(path)
    if found not in _AS_RAW:
        raise Refused(f'its disk is a {found} image in turn')
    try:
        said = qemu_img.info(fd).get('format')
    except qemu_img.Failed as exc:
        raise Refused(f'its disk: {exc}') from exc
    if said != RAW:
        raise Refused(f'its disk is a {said} image in turn')


def allowance(length: int) -> int:
    """Return the bytes that a template's disk may take.

    :param length: of the template, in bytes
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
    size = int(said['virtual-size'])
    if size > max_virtual_size:
        raise Refused(
            f'it describes a disk of {size} bytes, more than '
            f'[nova] max_virtual_size'
        )
    if image_format == 'qcow2':
        _check_clusters(fd, int(said['cluster-size']))
    return size


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
