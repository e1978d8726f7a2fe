"""Which base files were made from a location, kept in that location.

A base file is ours if it is the very inode that was noted before it appeared:
what libvirt changes of it (the owner) and what Nova does (the time) does not
matter. The mark tells it from a later file with the same inode number; a hard
link needs none, since its number is taken while the copy is there. Numbers of
devices are not noted: they change with a restart of the machine.
"""

import contextlib
import dataclasses
import logging
import os
import uuid
from collections.abc import Iterator

from tmpl_glance_store import fsutil
from tmpl_glance_store import objects

LOG = logging.getLogger(__name__)

_DIRECTORY = 'published'
_SUFFIX = '.json'
_MARK = 'user.tmpl.base'


@dataclasses.dataclass(frozen=True)
class Entry(objects.Record):
    """A base file that we made, or were about to make.

    ``name`` is that of the file, ``digest`` of the template; ``content`` is
    the digest of what the file holds, which is another one if it was
    ``converted``, and ``size`` its length in bytes. ``mode`` is the way in
    which it was made, ``mark`` the extended attribute of ``inode``, empty
    where it has none. ``target`` is what a symbolic link points to.
    ``made_at`` and ``verified_at`` are seconds since the epoch.
    """

    name: str
    image_id: str
    digest: str
    content: str
    size: int
    mode: str
    inode: int
    made_at: float
    mark: str = ''
    target: str = ''
    converted: bool = False
    verified_at: float = 0.0
    damaged: bool = False

    def is_at(self, path: str) -> bool:
        """Tell whether *path* is the file that this entry describes."""
        try:
            found = os.lstat(path)
            if self.target:
                return os.readlink(path) == self.target
        except OSError:
            return False
        return (found.st_ino == self.inode
                and (not self.mark or read_mark(path) == self.mark))


class Ledger:
    """The entries of one location, in its directory ``published/``.

    ``holds`` are hard links in there: symbolic links in the image cache point
    to them, so that what guests run on stays when the copy goes.

    :param root: the location's directory
    """

    def __init__(self, root: str) -> None:
        self._directory = os.path.join(root, _DIRECTORY)
        fsutil.make_directory(self._directory)
        self.entries: dict[str, Entry] = {}
        for name in os.listdir(self._directory):
            if name.endswith(_SUFFIX):
                self._load(os.path.join(self._directory, name))

    def _load(self, path: str) -> None:
        try:
            with open(path, 'rb') as file:
                entry = Entry.from_json(file.read())
        except (OSError, ValueError) as exc:
            LOG.error('Not read: %s: %s', path, exc)
            return
        self.entries[entry.name] = entry

    def write(self, entry: Entry) -> None:
        """Note a base file; durable when it returns."""
        fsutil.write_durably(self._path(entry.name), entry.to_json(), 0o644)
        self.entries[entry.name] = entry

    def remove(self, name: str) -> None:
        """Forget a base file that is not there any more, or not ours."""
        self.entries.pop(name, None)
        os.unlink(self._path(name))

    def hold(self, source: str, content: str) -> str:
        """Return a hard link of *source* that outlives the copy."""
        # Of the very file: another one with that digest may be damaged.
        path = os.path.join(self._directory,
                            f'{content}.{os.stat(source).st_ino}')
        try:
            os.link(source, path)
            fsutil.fsync_directory(self._directory)
        except FileExistsError:
            pass
        return path

    def drop_holds(self) -> None:
        """Remove the holds that nothing points to."""
        wanted = {os.path.basename(entry.target)
                  for entry in self.entries.values() if entry.target}
        for name in self._holds():
            if name not in wanted:
                os.unlink(os.path.join(self._directory, name))

    def _holds(self) -> Iterator[str]:
        return filter(_is_hold, os.listdir(self._directory))

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name + _SUFFIX)


def leads_to_hold(link: str) -> bool:
    """Tell whether a symbolic link is one of ours, by where it leads.

    Also one to a disk that is gone, and its ledger with it.
    """
    try:
        directory, name = os.path.split(os.readlink(link))
    except OSError:
        return False
    return os.path.basename(directory) == _DIRECTORY and _is_hold(name)


def _is_hold(name: str) -> bool:
    digest, _, inode = name.partition('.')
    return bool(objects.DIGEST.fullmatch(digest)) and inode.isdigit()


def set_mark(fd: int) -> None:
    """Mark an open file as ours, where the file system lets us."""
    with contextlib.suppress(OSError):
        os.setxattr(fd, _MARK, uuid.uuid4().hex.encode())


def read_mark(path: str) -> str:
    """Return the mark of a file, empty if it has none."""
    try:
        return os.getxattr(path, _MARK).decode(errors='replace')
    except OSError:
        return ''
