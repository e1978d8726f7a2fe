# SPDX-License-Identifier: Apache-2.0
"""What an image is, by its first bytes: the only door to format_inspector."""

import io
import time

from oslo_utils.imageutils import format_inspector

RAW = 'raw'
#: What a hypervisor reads as it is, whatever is in it.
AS_RAW = frozenset((RAW, 'gpt', 'iso'))
#: Enough for the headers of every format that the inspectors know.
HEAD = 2 << 20

_STEP = 64 << 10
_PATIENCE = 10  # seconds of reading; a MiB or two make a format clear


class Unsafe(Exception):
    """An image that must not be given to a hypervisor; says why."""


def detect(head: bytes) -> str | None:
    """Return the format of an image: ``qcow2``, ``raw``, ``iso``, …

    A partitioned disk is ``raw``. None if the bytes look like several formats
    at once; who wants to use such an image has to inspect it more closely.

    :param head: the first :data:`HEAD` bytes of the image, or all of it
    """
    wrapper = format_inspector.InspectWrapper(io.BytesIO(head))
    try:
        while wrapper.read(_STEP):
            pass
        wrapper.close()
        name = str(wrapper.format)
    except Exception:  # hostile bytes: what else they raise means the same
        return None
    return RAW if name == 'gpt' else name


def inspect(path: str) -> str:
    """Return the format of the image file *path*, after Nova's checks.

    Unlike :func:`detect` it reads on until the format is clear, and looks for
    what makes an image dangerous: backing and data files, foreign extents,
    several formats at once. An ISO with a partition table is an ISO.

    Source: ``get_image_format`` and ``do_image_deep_inspection`` in
    nova/virt/images.py.

    :raises Unsafe: if it fails the checks
    :raises OSError: if it cannot be read
    """
    deadline = time.monotonic() + _PATIENCE
    try:
        with open(path, 'rb', buffering=0) as file:
            wrapper = format_inspector.InspectWrapper(file)
            while wrapper.read(_STEP) and not wrapper.formats:
                if time.monotonic() > deadline:
                    raise Unsafe(
                        f'its format is not clear after {_PATIENCE} s'
                    )
            wrapper.close()
        found = _one_of(wrapper.formats or [])
        found.safety_check()
        return str(found)
    except (OSError, Unsafe):
        raise
    except Exception as exc:  # hostile bytes may raise anything
        raise Unsafe(str(exc) or type(exc).__name__) from exc


def _one_of(
    found: list[format_inspector.FileInspector],
) -> format_inspector.FileInspector:
    by_name = {str(each): each for each in found}
    if by_name.keys() == {'iso', 'gpt'}:
        return by_name['iso']
    if len(found) != 1:
        raise Unsafe(
            f'it is several formats at once: {", ".join(sorted(by_name))}'
        )
    return found[0]
