# SPDX-License-Identifier: Apache-2.0
"""Which base files were made from a location, kept in that location."""

import hashlib
import logging
import os
from collections.abc import Iterator

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store.imagecache.entries import Entry

LOG = logging.getLogger(__name__)

_SUFFIX = '.json'


class Ledger:
    """The entries of one location, in a directory of its own.

    ``entries`` are those of the image cache in *cache*; of others, which
    instances may still use, ``elsewhere`` has the entries by their files.
    ``holds`` are hard links in there: symbolic links in the image cache point
    to them, so that what guests run on stays when the copy goes.

    :param root: the location's directory
    :param cache: Nova's directory of base files
    :raises OSError: if it cannot be read, or made
    """

    def __init__(self, root: str, cache: str) -> None:
        self._directory = layout.Paths(root).published
        self._suffix = f'.{hashlib.sha256(cache.encode()).hexdigest()[:8]}'
        self._unread = False
        fsutil.make_directory(self._directory)
        # Who made it may have died before this; with it all entries would go.
        fsutil.fsync_directory(root)
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
    if os.path.basename(directory) != layout.PUBLISHED or not _is_hold(name):
        return None
    return name.partition('.')[0]


def _is_hold(name: str) -> bool:
    digest, _, inode = name.partition('.')
    return bool(objects.DIGEST.fullmatch(digest)) and inode.isdigit()
