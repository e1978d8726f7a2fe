# SPDX-License-Identifier: Apache-2.0
"""Templates made of given bytes, with everything that proves them."""

import dataclasses
import pathlib

from tmpl_glance_store import layout
from tmpl_glance_store import merkle
from tmpl_glance_store import objects


@dataclasses.dataclass
class Content:
    """A template with its bytes and piece layer."""

    data: bytes
    template: objects.Template
    pieces: bytes

    @property
    def digest(self) -> str:
        """The template's digest."""
        return self.template.digest

    def write(self, directory: pathlib.Path) -> pathlib.Path:
        """Put the image into *directory*, as a location has it."""
        directory.mkdir()
        path = directory / layout.IMAGE
        path.write_bytes(self.data)
        path.chmod(0o444)
        return path


def content(data: bytes) -> Content:
    """Return the template of *data*."""
    hasher = merkle.TreeHasher()
    hasher.update(data)
    root, layer = hasher.finish()
    return Content(
        data,
        objects.Template(
            digest=merkle.identify(len(data), root),
            root=root.hex(),
            size=len(data),
            position=0,
            checksum='0',
            hashing_algo='sha512',
            multihash='0',
            piece_size=hasher.piece,
            created_at=0.0,
        ),
        b''.join(layer),
    )


def twin(what: Content) -> Content:
    """Return the other content that has the root of *what*.

    That of 64 bytes, the two hashes below the root: BEP 52 does not part
    leaves from inner nodes.

    :param what: a content of more than one block
    """
    leaves = merkle.block_hashes(what.data)
    half = 1 << (len(leaves) - 1).bit_length() - 1
    found = content(
        merkle.root(leaves[:half]) + merkle.root(leaves[half:], half)
    )
    assert found.template.root == what.template.root
    return found
