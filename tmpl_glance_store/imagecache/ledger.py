# SPDX-License-Identifier: Apache-2.0
"""Which base files were made from a location, kept in that location.

A base file is ours if it is the very inode that was noted before it appeared:
what libvirt changes of it (the owner) and what Nova does (the time) does not
matter. The mark tells it from a later file with the same inode number; a hard
link needs none, since its number is taken while the copy is there. Numbers of
devices are not noted: they change with a restart of the machine.
"""

import contextlib
import dataclasses
import errno
import hashlib
import logging
import os
import stat
import uuid
from collections.abc import Iterator
from typing import Any, Self

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import objects

LOG = logging.getLogger(__name__)

_DIRECTORY = 'published'
_SUFFIX = '.json'
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
            wanted = (int, float) if field.type is float else field.type
            if not isinstance(value, wanted):
                raise TypeError(f'{field.name} is {value!r}')
        return entry


class Ledger:
    """The entries of one location, in its directory ``published/``.

    ``entries`` are those of the image cache in *cache*; of others, which
    instances may still use, ``elsewhere`` has the entries by their files.
    ``holds`` are hard links in there: symbolic links in the image cache point
    to them, so that what guests run on stays when the copy goes.

    :param root: the location's directory
    :param cache: Nova's directory of base files
    :raises OSError: if it cannot be read, or made
    """

    def __init__(self, root: str, cache: str) -> None:
        self._directory = os.path.join(root, _DIRECTORY)
        self._suffix = f'.{hashlib.sha256(cache.encode()).hexdigest()[:8]}'
        self._unread = False
        fsutil.make_directory(self._directory)
        self.entries: dict[str, Entry] = {}
        self.elsewhere: dict[str, Entry] = {}
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            if name.endswith(_SUFFIX):
                self._load(path, cache)
            elif name.startswith('.'):  # what a crash has left of a write
                os.unlink(path)

    def _load(self, path: str, cache: str) -> None:
        try:
            with open(path, 'rb') as file:
                entry = Entry.from_json(file.read())
        except (OSError, ValueError) as exc:
            LOG.error('Not read, and what it holds is kept: %s: %s', path, exc)
            self._unread = True
            return
        if entry.directory != cache:
            self.elsewhere[path] = entry
        else:
            self.entries[entry.name] = entry

    def write(self, entry: Entry) -> None:
        """Note a base file; durable when it returns.

        :raises WriteDenied, NoSpace: if the location cannot be written
        """
        try:
            with fsutil.os_errors():
                fsutil.write_durably(
                    self._path(entry.name), entry.to_json(), 0o644
                )
        except exceptions.WriteDenied as exc:
            raise exceptions.WriteDenied(
                f'{exc}: the agent has to write in its locations. Give them '
                f'to its user, or give it CAP_DAC_OVERRIDE'
            ) from exc
        self.entries[entry.name] = entry

    def remove(self, entry: Entry) -> None:
        """Forget a base file that is not there any more, or not ours."""
        path = next(
            (path for path, each in self.elsewhere.items() if each is entry),
            None,
        )
        with fsutil.os_errors():
            if path is not None:
                os.unlink(path)
                del self.elsewhere[path]
            elif self.entries.get(entry.name) is entry:
                os.unlink(self._path(entry.name))
                del self.entries[entry.name]

    def all(self) -> list[Entry]:
        """Return all entries, of this image cache and of others."""
        return [*self.entries.values(), *self.elsewhere.values()]

    def hold(self, source: str, content: str) -> str:
        """Return a hard link of *source* that outlives the copy."""
        # Of the very file: another one with that digest may be damaged.
        path = os.path.join(
            self._directory, f'{content}.{os.stat(source).st_ino}'
        )
        try:
            os.link(source, path)
            fsutil.fsync_directory(self._directory)
        except FileExistsError:
            pass
        return path

    def drop_holds(self) -> None:
        """Remove the holds that nothing points to, if that can be told."""
        if self._unread:
            return
        wanted = {
            os.path.basename(entry.target)
            for entry in self.all()
            if entry.target
        }
        for name in self._holds():
            if name not in wanted:
                os.unlink(os.path.join(self._directory, name))

    def _holds(self) -> Iterator[str]:
        return filter(_is_hold, os.listdir(self._directory))

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name + self._suffix + _SUFFIX)


def held_content(link: str) -> str | None:
    """Return the digest of what a symbolic link of ours leads to.

    It is known by where it leads, also to a disk that is gone, and its ledger
    with it. None if *link* is nothing of the kind.
    """
    try:
        directory, name = os.path.split(os.readlink(link))
    except OSError:
        return None
    if os.path.basename(directory) != _DIRECTORY or not _is_hold(name):
        return None
    return name.partition('.')[0]


def _is_hold(name: str) -> bool:
    digest, _, inode = name.partition('.')
    return bool(objects.DIGEST.fullmatch(digest)) and inode.isdigit()


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
