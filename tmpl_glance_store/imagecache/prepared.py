# SPDX-License-Identifier: Apache-2.0
"""What can be published: a copy of this node, and the file made of it."""

import dataclasses
from collections.abc import Callable

from tmpl_glance_store import layout
from tmpl_glance_store import objects


@dataclasses.dataclass(frozen=True)
class Held:
    """A template with a copy on this node, and its images.

    ``root`` is the directory of the location, ``directory`` the copy's;
    ``has_room`` tells whether the location can take so many more bytes.
    """

    template: objects.Template
    images: tuple[str, ...]
    root: str
    directory: str
    has_room: Callable[[int], bool]

    @property
    def digest(self) -> str:
        """The digest of the template."""
        return self.template.digest

    @property
    def copy(self) -> layout.CopyPaths:
        """Where the template's files are."""
        return layout.CopyPaths(self.directory)

    @property
    def workshop(self) -> str:
        """The directory in which its raw form is made."""
        return layout.Paths(self.root).workshop(self.digest)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A file that may be published.

    ``content`` is the digest of what is in it, ``size`` its length in bytes;
    ``temporary`` is a copy of it in Nova's directory, if that is the mode, and
    ``way`` says how that was made.
    """

    path: str
    content: str
    size: int
    converted: bool
    temporary: str = ''
    way: str = ''
