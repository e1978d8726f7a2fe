# SPDX-License-Identifier: Apache-2.0
"""Makes the raw form of a template, once a node."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from tmpl_glance_store import digests
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store.disk_images import derived
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.disk_images import qemu_img


def convert(
    copy: layout.CopyPaths,
    workshop: str,
    source: str,
    found: inspection.Inspected,
    *,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> derived.Derived:
    """Convert an image to raw, and put the result beside it.

    Sparse where zero. What a crash leaves of it is in *workshop*; the next
    attempt begins anew.

    :param copy: of the template
    :param workshop: a directory of its own, on the same file system
    :param source: the digest of the template
    :param found: what its image is, by :func:`inspection.inspect`
    :param progress: told the percentage done
    :param check: raises if it must end, for example because space is short
    :raises Refused: if the result must not be used, or takes far more space
        than the template
    :raises Failed: if qemu-img does
    :raises Unavailable: if another process is at it, or qemu-img is hindered
    """
    with _workshop(workshop):
        temp = os.path.join(workshop, layout.BASE)
        try:
            digest = _write(copy.image, found, temp, progress, check)
            derived.discard(copy)
            os.rename(temp, copy.base)
            now = time.time()
            made = derived.Derived(
                source, digest, found.virtual_size, now, now
            )
            derived.record(copy, made)
            return made
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temp)


@contextlib.contextmanager
def _workshop(path: str) -> Iterator[None]:
    """Make a directory for one process, and remove it at the end."""
    fsutil.make_directory(path)
    lock = fsutil.lock_directory(path)
    if lock is None:
        raise exceptions.Unavailable(f'{path} is locked')
    with lock, fsutil.os_errors():
        try:
            yield
        finally:
            os.rmdir(path)


def _write(
    image: str,
    found: inspection.Inspected,
    temp: str,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> str:
    """Make the raw file *temp*; return its digest."""
    with _descriptor(image, os.O_RDONLY) as source:
        most = inspection.allowance(os.fstat(source).st_size)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        with _descriptor(temp, flags) as target:

            def look() -> None:
                check()
                if os.fstat(target).st_blocks * 512 > most:
                    raise inspection.Refused(
                        f'its disk takes more than {most} bytes'
                    )

            os.ftruncate(target, found.virtual_size)
            qemu_img.convert_to_raw(
                source, found.format, target, progress=progress, check=look
            )
            os.fchown(target, os.geteuid(), os.getegid())
            os.fchmod(target, derived.MODE)
            os.fsync(target)
            inspection.require_raw(temp, target)
            return digests.digest_of(target, lambda length: check())


@contextlib.contextmanager
def _descriptor(path: str, flags: int) -> Iterator[int]:
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
