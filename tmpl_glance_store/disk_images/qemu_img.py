# SPDX-License-Identifier: Apache-2.0
"""The only door to qemu-img; what it reads was uploaded by a tenant."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from tmpl_glance_store.disk_images import sandbox
from tmpl_glance_store.disk_images.sandbox import Failed

__all__ = ('Failed', 'check', 'convert_to_raw', 'info')

_HOLE = '64k'  # runs of zeros of this length become holes
_PROGRESS = re.compile(rb'\(([0-9.]+)/100%\)')


def info(fd: int) -> dict[str, Any]:
    """Return what ``qemu-img info`` says of the open file *fd*.

    :raises Failed: if it is no image, or a damaged one
    :raises Unavailable: if there is no answer, whatever the image is
    """
    return _ask(fd, 'info')


def check(fd: int, image_format: str) -> dict[str, Any]:
    """Return what ``qemu-img check`` counts in the open file *fd*.

    :raises Failed: if it cannot be checked
    :raises Unavailable: if there is no answer, whatever the image is
    """
    return _ask(fd, 'check', '-f', image_format, good=(0, 2, 3))


def convert_to_raw(
    source: int,
    image_format: str,
    target: int,
    *,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> None:
    """Write what the image *source* contains into the file *target*.

    :param source: descriptor of an image that has been inspected
    :param target: descriptor of an empty file, as long as the disk is
    :param progress: told the percentage done
    :param check: called several times a second; what it raises ends it
    :raises Failed: if qemu-img does not succeed with this image
    :raises Unavailable: if it was hindered
    """

    def look(said: bytes) -> None:
        check()
        progress(_percentage(said))

    sandbox.give(target)
    sandbox.work(
        (
            *('qemu-img', 'convert', '-p', '-n', '--target-is-zero', '-U'),
            *('-t', 'writeback', '-S', _HOLE),
            *('-f', image_format, '-O', 'raw'),
            *(sandbox.name(source), sandbox.name(target)),
        ),
        (source, target),
        look,
    )
    check()


def _percentage(said: bytes) -> float:
    found = _PROGRESS.findall(said)
    return float(found[-1]) if found else 0.0


def _ask(
    fd: int, verb: str, *options: str, good: Sequence[int] = (0,)
) -> dict[str, Any]:
    command = ('qemu-img', verb, '-U', '--output=json', *options)
    said = sandbox.ask((*command, sandbox.name(fd)), (fd,), good)
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError as exc:
        raise Failed(f'qemu-img {verb}: {exc}') from exc
    return answer
