# SPDX-License-Identifier: Apache-2.0
"""Copies: placed, recorded and removed; the disk and the catalog in step."""

import contextlib
import errno
import logging
from collections.abc import Callable, Iterable

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging
from tmpl_glance_store.localstore import store as local_store

LOG = logging.getLogger(__name__)

_LOCK_WAIT = 60  # seconds; a lock is held while a catalog is written


class Keeper:
    """The only one that brings the disks of this host and the catalog in step.

    The states of one copy, by what the catalog and the disk say::

                        catalog    disk       after a crash, the next start
        absent          -          -
        intended        intended   -          drops the record
        placed          intended   there      removes the copy, unless bound
        recorded        complete   there
        withdrawn       complete   -          drops the record
        quarantined     complete   set aside  drops the record
        found           -          there      records it, unless deleted

        absent -> intended -> placed -> recorded      (place, arrived, move)
        recorded -> withdrawn -> absent               (collect)
        recorded -> quarantined -> absent             (condemn)
        recorded -> found -> absent                   (release)
        found -> recorded, or absent                  (adopt)
        withdrawn or quarantined -> absent            (forget)

    The record is made before the copy and goes after it, so that each crash
    leaves one that tells what the copy was. Only a release goes the other
    way: the catalog decides between two nodes that would spare each other's
    copy, and what a crash leaves then is found, and is surplus again.

    The order of locks: first that of the copy's directory, then the catalog.
    Who places a copy holds the lock until the catalog knows the copy; who
    removes one takes the same lock, and asks the catalog again. So no image
    is bound to a copy that is being removed, in whichever order they meet.

    All methods raise :class:`~tmpl_glance_store.exceptions.Unavailable` if
    the catalog cannot be reached.

    :param store: this host's locations
    :param on_step: called with the name of each step when it is done
    """

    def __init__(
        self,
        catalog: catalog_domain.Catalog,
        store: local_store.LocalStore,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._step = on_step

    # A copy appears

    def bind_existing(
        self,
        template: objects.Template,
        bind: Callable[[local.LocalLocation], None],
    ) -> bool:
        """Bind to a good copy that this host has; False if it has none.

        The caller has the same bytes in hand, and throws them away after it:
        a copy that is not whole any more goes to quarantine first, so that
        they can take its place.

        :param bind: called with the copy's location while nobody can remove
            it; records the copy as complete
        :raises Unavailable: if a copy cannot be read now
        """
        for location in self._store.locations:
            self._set_aside_if_bad(template.digest, location)
            try:
                lock = location.hold(template.digest, _LOCK_WAIT)
            except exceptions.CorruptCopy:
                self.forget(template.digest, location)
                continue
            if lock is not None:
                with lock:
                    bind(location)
                return True
        return False

    def _set_aside_if_bad(
        self, digest: str, location: local.LocalLocation
    ) -> None:
        """Prove a copy, before its lock is taken: that is to be held briefly.

        One that is bad, or that its disk cannot read, goes to quarantine.
        """
        try:
            location.prove(digest)
            return
        except FileNotFoundError:
            return  # who takes its lock sees what is amiss, if it is there
        except exceptions.CorruptCopy as exc:
            LOG.error('Bad: %s', exc)
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise exceptions.Unavailable(str(exc)) from exc
            LOG.error('Unreadable: %s: %s', location.paths.copy(digest), exc)
        with fsutil.os_errors():
            self.condemn(digest, location)

    def place(
        self,
        staged: staging.Staged,
        target: local.LocalLocation,
        template: objects.Template,
        bind: Callable[[local.LocalLocation], None],
    ) -> bool:
        """Make a sealed copy visible and bind it, or leave nothing of it.

        :param bind: as of :meth:`bind_existing`
        :returns: False if another was faster: its copy is there
        """
        self._catalog.copies.intend(template.digest, target.record.id)
        self._step('intended')
        try:
            if not staged.place(template.digest):
                return False
            self._step('placed')
            bind(target)
        except BaseException:
            # What cannot be undone now, the next start undoes.
            with contextlib.suppress(
                exceptions.Unavailable, OSError, exceptions.WriteDenied
            ):
                self._undo(staged, target, template)
            raise
        return True

    def _undo(
        self,
        staged: staging.Staged,
        target: local.LocalLocation,
        template: objects.Template,
    ) -> None:
        """Take a copy back that could not be bound, its lock still held."""
        if staged.placed:
            self._decide(template, target, promised=False)
        else:
            self._drop(template.digest, target)

    def arrived(
        self,
        staged: staging.Staged,
        template: objects.Template,
        location: local.LocalLocation,
    ) -> bool:
        """Place and record a copy that was fetched and just proved.

        Meanwhile the last image may have gone, and with it the template's
        record, since nobody else had a copy: it must not be made anew.

        :param staged: in *location*, sealed
        :returns: whether there is a copy that stays, and is this one
        """
        self._catalog.copies.intend(template.digest, location.record.id)
        if not staged.place(template.digest):
            return False
        known = self._catalog.bindings.facts(template.digest) is not None
        # One that is only pinned has no images, and is wanted all the same.
        return self._decide(template, location, promised=known, proved=True)

    def move(
        self,
        template: objects.Template,
        source: local.LocalLocation,
        target: local.LocalLocation,
    ) -> bool:
        """Copy a template from one disk of this host to another.

        The copy in *source* stays until it is released.

        :returns: as :meth:`arrived`
        :raises CorruptCopy: if what was read is not the template
        :raises NoSpace, WriteDenied, OSError: if a disk fails
        """
        with target.stage() as staged:
            staged.copy_from(
                source.paths.copy(template.digest), template.digest
            )
            return self.arrived(staged, template, target)

    # A copy is found

    def adopt(
        self,
        digest: str,
        location: local.LocalLocation,
        record: objects.Copy | None,
    ) -> None:
        """Settle what lies on disk with the catalog; see :meth:`settle`."""
        self.settle(location.paths.copy(digest), location, record)

    def settle(
        self,
        path: str,
        location: local.LocalLocation,
        record: objects.Copy | None,
    ) -> None:
        """Decide on one entry of ``templates/``, unless somebody works on it.

        A copy stays if it is whole and anybody may want it. What is not
        whole goes to quarantine.

        :param record: what the catalog knows of the copy
        """
        try:
            lock = fsutil.lock_directory(path)
        except OSError:
            return
        if lock is None:
            return
        with lock:
            try:
                template = location.require_whole(path)
            except OSError as exc:
                LOG.error('Left as it is: %s: %s', path, exc)
                return
            except exceptions.CorruptCopy:
                if record is not None:
                    self._drop(record.digest, location)
                return
            # Only intended: the upload crashed before it was promised.
            self._decide(
                template, location, promised=record is None or record.complete
            )

    def _decide(
        self,
        template: objects.Template,
        location: local.LocalLocation,
        promised: bool,
        proved: bool = False,
    ) -> bool:
        """Keep a copy on disk and in the catalog, or remove it from both.

        The caller holds the copy's lock.

        :param promised: whether somebody may rely on the copy although no
            image is bound to it: the catalog may have lost what it knew
        :param proved: whether its bytes have just been proved
        :returns: whether it stays
        """
        bindings, digest = self._catalog.bindings, template.digest
        wanted = bindings.is_claimed(digest) or (
            promised and not bindings.is_unreferenced(digest)
        )
        if wanted:
            self._catalog.copies.adopt(digest, location.record.id, proved)
            # Who may not write facts leaves that to those who may.
            with contextlib.suppress(exceptions.Forbidden):
                bindings.restore(template)
        elif doubt := self._catalog.history.check():
            LOG.warning(
                '%s stays in %s: %s', digest, location.paths.root, doubt
            )
            return True
        else:
            self._withdraw(digest, location)
            self.forget_template(digest)
        return wanted

    # A copy goes

    def forget(self, digest: str, location: local.LocalLocation) -> None:
        """Drop the record of a copy that is not on disk.

        Of a disk that is away nothing is known: its copies stay recorded.
        """
        if location.is_well():
            self._drop(digest, location)
            self.forget_template(digest)

    def forget_template(self, digest: str) -> None:
        """Forget a deleted template that has no copies any more.

        Who may not write facts leaves that to those who may.
        """
        if self._catalog.bindings.is_unreferenced(digest):
            self._catalog.history.require()
            with contextlib.suppress(exceptions.Forbidden):
                self._catalog.bindings.forget(digest)

    def collect(self, digest: str, location: local.LocalLocation) -> None:
        """Remove a copy that nobody refers to, if that is still so.

        :raises WriteDenied: if the directory is read-only or forbidden
        """
        try:
            lock = fsutil.lock_directory(
                location.paths.copy(digest), wait=_LOCK_WAIT
            )
        except FileNotFoundError:
            self.forget(digest, location)
        else:
            if lock is None:
                return  # whoever holds it decides
            with lock:
                if not self._catalog.bindings.is_unreferenced(digest):
                    return
                self._catalog.history.require()
                self._withdraw(digest, location)
            self._step('copy forgotten')

    def release(
        self,
        digest: str,
        location: local.LocalLocation,
        keepers: Iterable[str],
    ) -> None:
        """Remove a copy that others can spare us, if that is still so.

        :param keepers: ids of locations, all of which must have a copy
        :raises WriteDenied: if the directory is read-only or forbidden
        """
        try:
            lock = fsutil.lock_directory(location.paths.copy(digest))
        except FileNotFoundError:
            return
        if lock is None:
            return  # somebody is binding an image to it
        self._catalog.history.require()
        with lock:
            if self._catalog.copies.release(
                digest, location.record.id, keepers
            ):
                location.withdraw(digest)

    def condemn(
        self, digest: str, location: local.LocalLocation
    ) -> str | None:
        """Move a bad copy to quarantine, and drop its record.

        Without the catalog the copy goes all the same: the next pass of the
        agent, or the next start, sees that the disk has none.

        :returns: the directory to which it went, None if it was gone
        """
        target = location.condemn(digest)
        LOG.error('Quarantined as %s: %s', target, digest)
        self.forget(digest, location)
        return target

    def _withdraw(self, digest: str, location: local.LocalLocation) -> None:
        """Remove a copy from the disk, and then from the catalog.

        A new copy may take its place right after it went: the record of that
        one stays.
        """
        revision = self._catalog.copies.revision(digest, location.record.id)
        location.withdraw(digest)
        self._step('withdrawn')
        self._catalog.copies.forget(digest, location.record.id, revision)

    def _drop(self, digest: str, location: local.LocalLocation) -> None:
        """Drop the record of a copy, unless there is one on disk again."""
        self._catalog.copies.drop(
            digest, location.record.id, lambda: location.holds(digest)
        )
