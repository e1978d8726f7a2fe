"""What an image is, by its first bytes: the only door to format_inspector."""

import io

from oslo_utils.imageutils import format_inspector

#: Enough for the headers of every format that the inspectors know.
HEAD = 2 << 20

_STEP = 64 << 10


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
    except format_inspector.ImageFormatError:
        return None
    return 'raw' if name == 'gpt' else name
