# SPDX-License-Identifier: Apache-2.0
"""Raw conversions of templates: made once a node, kept beside the copy."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable

from tmpl_glance_store import digests
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import objects
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.disk_images import qemu_img

_BASE = 'base.raw'
_RECORD = 'base.json'
_MODE = 0o444


@dataclasses.dataclass(frozen=True)
class Derived(objects.Record):
    """The file ``base.json``: what ``base.raw`` beside it is.

    ``source`` is the digest of the template, ``digest`` that of the raw file,
    ``size`` its length in bytes; times are in seconds since the epoch.
    """

    source: str
    digest: str
    size: int
    made_at: float
    verified_at: float = 0.0


def path_in(directory: str) -> str:
    """Return where the conversion of the copy in *directory* lies."""
    return os.path.join(directory, _BASE)


def find(directory: str) -> Derived | None:
    """Return the conversion of the copy in *directory*, None without one."""
    try:
        with open(os.path.join(directory, _RECORD), 'rb') as file:
            derived = Derived.from_json(file.read())
        size = os.stat(path_in(directory)).st_size
    except (OSError, ValueError):
        return None
    return derived if size == derived.size else None


def record(directory: str, derived: Derived) -> None:
    """Write ``base.json`` into the copy in *directory*."""
    fsutil.write_durably(
        os.path.join(directory, _RECORD), derived.to_json(), _MODE
    )


def discard(directory: str) -> None:
    """Remove a conversion: it is made again if it is needed."""
    for name in (_RECORD, _BASE):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


def convert(
    directory: str,
    workshop: str,
    source: str,
    image_format: str,
    virtual_size: int,
    *,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> Derived:
    """Convert an image to raw, and put the result beside it.

    Sparse where zero. What a crash leaves of it is in *workshop*; the next
    attempt begins anew.

    :param directory: of the copy whose image it is
    :param workshop: a directory of its own, on the same file system
    :param source: the digest of the template
    :param virtual_size: bytes of the raw disk
    :param progress: told the percentage done
    :param check: raises if it must end, for example because space is short
    :raises Refused: if the result must not be published, or takes far more
        space than the template
    :raises Failed: if qemu-img does
    :raises Unavailable: if another process is at it, or qemu-img is hindered
    """
    fsutil.make_directory(workshop)
    lock = fsutil.lock_directory(workshop)
    if lock is None:
        raise exceptions.Unavailable(f'{workshop} is locked')
    with lock, fsutil.os_errors():
        temp = os.path.join(workshop, _BASE)
        try:
            digest = _write(
                os.path.join(directory, 'image'),
                image_format,
                temp,
                virtual_size,
                progress,
                check,
            )
            discard(directory)
            os.rename(temp, path_in(directory))
            derived = Derived(
                source, digest, virtual_size, time.time(), time.time()
            )
            record(directory, derived)
            return derived
        finally:
            if os.path.exists(temp):
                os.unlink(temp)
            os.rmdir(workshop)


def _write(
    image: str,
    image_format: str,
    temp: str,
    size: int,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> str:
    """Make the raw file *temp*; return its digest."""
    source = os.open(image, os.O_RDONLY)
    try:
        target = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        most = inspection.allowance(os.fstat(source).st_size)

        def look() -> None:
            check()
            if os.fstat(target).st_blocks * 512 > most:
                raise inspection.Refused(
                    f'its disk takes more than {most} bytes'
                )

        try:
            os.ftruncate(target, size)
            qemu_img.convert_to_raw(
                source, image_format, target, progress=progress, check=look
            )
            os.fchown(target, os.geteuid(), os.getegid())
            os.fchmod(target, _MODE)
            os.fsync(target)
            inspection.require_raw(temp, target)
            return digests.digest_of(target, lambda length: check())
        finally:
            os.close(target)
    finally:
        os.close(source)
