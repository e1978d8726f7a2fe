# SPDX-License-Identifier: Apache-2.0
"""What lies in the directory of one copy, and whether it fits together."""

import errno
import os

from tmpl_glance_store import exceptions
from tmpl_glance_store import layout
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import schema


def read(path: str) -> objects.Template:
    """Return the template whose copy lies in the directory *path*.

    Checks everything but the bytes of the image: names, sizes, and that the
    piece layer proves the digest.

    :raises CorruptCopy: if it is not a whole copy; says why
    :raises OSError: if it cannot be read, which says nothing of it; so it is
        with the copies of another release
    """
    where = layout.CopyPaths(path)
    try:
        with open(where.template, 'rb') as file:
            template = objects.Template.from_json(file.read())
        with open(where.pieces, 'rb') as file:
            pieces = file.read()
        size = os.stat(where.image).st_size
    except schema.OtherVersion as exc:
        # Who has written it can read it: it is no waste.
        raise OSError(errno.ENOTSUP, str(exc), where.template) from exc
    except (FileNotFoundError, IsADirectoryError, ValueError) as exc:
        raise exceptions.CorruptCopy(f'{path}: {exc}') from exc
    if template.digest != os.path.basename(path):
        raise exceptions.CorruptCopy(f'{path}: is {template.digest}')
    if size != template.size:
        raise exceptions.CorruptCopy(
            f'{path}: image has {size} bytes instead of {template.size}'
        )
    try:
        merkle.prove_layer(
            pieces, size, template.piece_size, bytes.fromhex(template.root)
        )
    except ValueError as exc:
        raise exceptions.CorruptCopy(f'{path}: {exc}') from exc
    return template
