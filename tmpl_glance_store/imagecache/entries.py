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

from tmpl_glance_store import objects
from tmpl_glance_store import schema
from tmpl_glance_store.schema import field

_MARK = 'user.tmpl.base'

_digest = schema.text(objects.DIGEST)
_path = schema.text(objects.PATH)


@dataclasses.dataclass(frozen=True)
class Entry(schema.Record):
    """A base file that we made, or were about to make.

    ``name`` is that of the file, in ``directory``, ``digest`` of the template;
    ``content`` is the digest of what the file holds, which is another one if
    it was ``converted``, and ``size`` its length in bytes. ``mode`` is the way
    in which it was made, ``mark`` the extended attribute of ``inode``, empty
    where it has none. ``target`` is what a symbolic link points to. ``mount``
    is where the file system of the directory began. ``made_at`` and
    ``verified_at`` are seconds since the epoch.
    """

    name: str = field(schema.text('[0-9a-f]{40}'))
    image_id: str = field(schema.text(objects.SPELLED_ID))
    digest: str = field(_digest)
    content: str = field(_digest)
    size: int = field(schema.whole())
    mode: str = field(schema.text('[a-z]{1,16}'))
    inode: int = field(schema.whole(high=(1 << 64) - 1))
    made_at: float = field(schema.number())
    directory: str = field(_path)
    mount: str = field(_path)
    mark: str = field(schema.text('[0-9a-f]{0,64}'), default='')
    target: str = field(schema.text(f'|{objects.PATH.pattern}'), default='')
    converted: bool = field(schema.flag, default=False)
    verified_at: float = field(schema.number(), default=0.0)
    damaged: bool = field(schema.flag, default=False)

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
