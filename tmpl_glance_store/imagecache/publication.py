# SPDX-License-Identifier: Apache-2.0
"""One base file: made, noted, and put into place under Nova's lock."""

import logging
import os
import stat
from collections.abc import Callable

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store.imagecache import decision
from tmpl_glance_store.imagecache import entries
from tmpl_glance_store.imagecache import facts
from tmpl_glance_store.imagecache import guards
from tmpl_glance_store.imagecache import ledger
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache import ownership
from tmpl_glance_store.imagecache import states
from tmpl_glance_store.imagecache.prepared import Held
from tmpl_glance_store.imagecache.prepared import Prepared
from tmpl_glance_store.imagecache.states import Verdict

LOG = logging.getLogger(__name__)

_BUSY = Verdict(states.WAITING, 'Nova holds the lock of its base file')


class Publication:
    """Gives Nova base files that it does not have.

    :param clock: as ``time.time``
    """

    def __init__(
        self,
        linker: linking.Linker,
        guards: guards.Guards,
        owner: ownership.Ownership,
        clock: Callable[[], float],
    ) -> None:
        self._linker = linker
        self._guards = guards
        self._owner = owner
        self._clock = clock

    def publish(
        self,
        held: Held,
        image_id: str,
        path: str,
        prepared: Prepared,
        book: ledger.Ledger,
    ) -> Verdict:
        """Publish a template as the base file *path*, if Nova lets us.

        Nothing of Nova's is replaced; a symbolic link of ours is, which leads
        nowhere, or is in no ledger any more.

        :param prepared: what to publish
        :param book: where the base file is noted
        :returns: what became of the image
        :raises WriteDenied, NoSpace: if it cannot be, or boots from it would
            be errors
        :raises OSError: as the kernel says
        """
        with self._guards.held(os.path.basename(path)) as ours:
            if not ours:
                return _BUSY
            step = decision.enter(facts.look(path), prepared.content)
            if isinstance(step, decision.Leave):
                return step.verdict
            way, temp = self._linker.make(
                prepared.temporary or prepared.path,
                lambda: book.hold(prepared.path, prepared.content),
            )
            way = prepared.way or way
            try:
                self._require_usable(temp)
                # First: nothing of ours goes unnoticed.
                book.write(
                    self._describe(held, image_id, path, prepared, way, temp)
                )
                if isinstance(step, decision.Redirect):
                    self._linker.replace_link(temp, path)
                elif not self._linker.place(temp, path):
                    return decision.FOREIGN
            finally:
                linking.remove(temp)
            # The time of a link is its copy's, and may be long ago.
            os.utime(path)
        LOG.info('Image %s is published as %s (%s)', image_id, path, way)
        return Verdict(states.PUBLISHED)

    def _describe(
        self,
        held: Held,
        image_id: str,
        path: str,
        prepared: Prepared,
        way: str,
        temp: str,
    ) -> entries.Entry:
        """Return the entry of what is *temp* now, and will be *path*."""
        directory, name = os.path.split(path)
        found = os.lstat(temp)
        is_link = stat.S_ISLNK(found.st_mode)
        return entries.Entry(
            name=name,
            image_id=image_id,
            digest=held.digest,
            content=prepared.content,
            size=prepared.size,
            mode=way,
            inode=0 if is_link else found.st_ino,
            made_at=self._clock(),
            verified_at=self._clock(),
            directory=directory,
            mount=fsutil.mount_point(directory),
            mark='' if is_link else entries.read_mark(temp),
            target=os.readlink(temp) if is_link else '',
            converted=prepared.converted,
        )

    def _require_usable(self, temp: str) -> None:
        """Make sure that a boot from this base file would not be an error.

        :raises WriteDenied: if Nova would fail, with no download instead
        """
        real = os.path.realpath(temp)
        if linking.fixed(real):
            raise exceptions.WriteDenied(
                f'{real} is immutable: Nova could not touch it; chattr -i'
            )
        if os.statvfs(real).f_flag & os.ST_RDONLY:
            raise exceptions.WriteDenied(
                f'{real} is on a read-only file system: Nova could not touch '
                f'it'
            )
        if not os.path.islink(temp):
            return  # it is reached like any other base file
        for person in self._owner.readers():
            obstacle = person.obstacle(temp)
            if obstacle is not None:
                raise exceptions.WriteDenied(
                    f'{obstacle}, and boots would fail; set tmpl_store_group '
                    f'to a group with that user in it ([nova] user, '
                    f'hypervisor_user), or put the location and '
                    f'instances_path on one file system'
                )
