# SPDX-License-Identifier: Apache-2.0
"""A base file that was made from a copy here, and how it is known again.

It is ours if it is the very inode that was noted before it appeared: what
libvirt changes of it (the owner) and what Nova does (the time) does not
matter. The mark tells it from a later file with the same inode number; a hard
link needs none, since its number is taken while the copy is there. Numbers of
devices are not noted: they change with a restart of the machine.
"""

import contextlib
import dataclasses
import errno
import os
import stat
import uuid
from typing import Any, Self

from tmpl_glance_store import objects

_MARK = 'user.tmpl.base'


@dataclasses.dataclass(frozen=True)
class Entry(objects.Record):
    """A base file that we made, or were about to make.

    ``name`` is that of the file, in ``directory``, ``digest`` of the template;
    ``content`` is the digest of what the file holds, which is another one if
    it was ``converted``, and ``size`` its length in bytes. ``mode`` is the way
    in which it was made, ``mark`` the extended attribute of ``inode``, empty
    where it has none. ``target`` is what a symbolic link points to. ``mount``
    is where the file system of the directory began. ``made_at`` and
    ``verified_at`` are seconds since the epoch.
    """

    name: str
    image_id: str
    digest: str
    content: str
    size: int
    mode: str
    inode: int
    made_at: float
    directory: str
    mount: str
    mark: str = ''
    target: str = ''
    converted: bool = False
    verified_at: float = 0.0
    damaged: bool = False

    @property
    def path(self) -> str:
        """The path of the base file."""
        return os.path.join(self.directory, self.name)

    def is_there(self) -> bool:
        """Tell whether the base file is the one that this entry describes.

        :raises OSError: if that cannot be known
        """
        try:
            found = os.lstat(self.path)
            if self.target:
                return (
                    stat.S_ISLNK(found.st_mode)
                    and os.readlink(self.path) == self.target
                )
            return found.st_ino == self.inode and (
                not self.mark or read_mark(self.path) == self.mark
            )
        except (FileNotFoundError, NotADirectoryError):
            return False

    def is_hidden(self, mount: str) -> bool:
        """Tell whether the file system with the base file is not mounted.

        :param mount: where that of the directory begins now
        """
        return self.mount != mount and self.mount.startswith(
            mount.rstrip('/') + '/'
        )

    @classmethod
    def _build(cls, fields: dict[str, Any]) -> Self:
        entry = super()._build(fields)
        for field in dataclasses.fields(cls):
            value = getattr(entry, field.name)
            wanted: Any = field.type
            if wanted is float:
                wanted = int, float
            if not isinstance(value, wanted):
                raise TypeError(f'{field.name} is {value!r}')
        return entry


def set_mark(fd: int) -> None:
    """Mark an open file as ours, where the file system lets us."""
    with contextlib.suppress(OSError):
        os.setxattr(fd, _MARK, uuid.uuid4().hex.encode())


def read_mark(path: str) -> str:
    """Return the mark of a file, empty if it has none.

    :raises OSError: if that cannot be known
    """
    try:
        return os.getxattr(path, _MARK).decode(errors='replace')
    except OSError as exc:
        if exc.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return ''
