# SPDX-License-Identifier: Apache-2.0
"""The catalog and the disk of a location, brought into agreement.

Every decision on a copy is made while its directory is locked, and by what
the catalog says then: see ``repository.py`` for the other side of the lock.
"""

import logging
import os
from collections.abc import Callable, Iterable

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging

LOG = logging.getLogger(__name__)

_LOCK_WAIT = 60  # seconds; a lock is held while a catalog is written


class Recovery:
    """Decides which copies stay, and cleans up after crashes.

    :param on_step: called with the name of each step of a removal
    """

    def __init__(
        self,
        catalog: catalog_domain.Catalog,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._catalog = catalog
        self._step = on_step

    def recover(self, location: local.LocalLocation) -> None:
        """Clean a location up, and bring catalog and disk into agreement."""
        recorded = self._catalog.copies.in_location(location.record.id)
        try:
            left = location.clean_incoming()
            if left:
                LOG.info(
                    'Removed %d unfinished writes from %s',
                    left,
                    location.paths.root,
                )
            for path in location.paths.entries():
                self.settle(
                    path, location, recorded.pop(os.path.basename(path), None)
                )
        except (OSError, exceptions.WriteDenied) as exc:
            # Its copies can be read all the same; a later start cleans up.
            LOG.warning(
                'Location %s cannot be cleaned: %s', location.paths.root, exc
            )
            return
        for digest in recorded:
            self._drop_record(digest, location)

    def forget_deleted(self) -> None:
        """Remove the records of deleted templates whose copies are gone."""
        for record in self._catalog.bindings.templates():
            if record.deleted_at is not None:
                self._catalog.bindings.forget(record.template.digest)

    def settle(
        self,
        path: str,
        location: local.LocalLocation,
        copy: objects.Copy | None,
    ) -> None:
        """Decide on one entry of ``templates/``, unless somebody works on it.

        :param copy: its record in the catalog
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
                if copy is not None:
                    self._catalog.copies.forget(copy.digest, copy.location_id)
                return
            # Only intended: the upload crashed before it was promised.
            self.decide(
                template, location, promised=copy is None or copy.complete
            )

    def decide(
        self,
        template: objects.Template,
        location: local.LocalLocation,
        promised: bool,
        proved: bool = False,
    ) -> None:
        """Keep a copy on disk and in the catalog, or remove it from both.

        The caller holds the copy's lock.

        :param promised: whether somebody may rely on the copy although no
            image is bound to it: the catalog may have lost what it knew
        :param proved: whether its bytes have just been proved
        """
        record = self._catalog.bindings.template(template.digest)
        if record is None:
            wanted = promised
        else:
            wanted = bool(record.images) or (
                promised and record.deleted_at is None
            )
        if wanted:
            self._catalog.copies.adopt(template, location.record.id, proved)
            return
        self._withdraw(template.digest, location)
        self._catalog.bindings.forget(template.digest)

    def arrived(
        self,
        staged: staging.Staged,
        template: objects.Template,
        location: local.LocalLocation,
    ) -> bool:
        """Place and record a copy just proved, if it is still wanted.

        Meanwhile the last image may have gone, and with it the template's
        record, since nobody else had a copy: it must not be made anew.

        :returns: whether the copy stays
        """
        self._catalog.copies.intend(template.digest, location.record.id)
        if not staged.place(template.digest):
            return False
        record = self._catalog.bindings.template(template.digest)
        # One that is only pinned has no images, and is wanted all the same.
        self.decide(
            template,
            location,
            promised=(record is not None and record.deleted_at is None),
            proved=True,
        )
        return location.holds(template.digest)

    def move(
        self,
        template: objects.Template,
        source: local.LocalLocation,
        target: local.LocalLocation,
    ) -> None:
        """Copy a template from one disk of this node to another."""
        with target.stage() as staged:
            staged.copy_from(
                source.paths.copy(template.digest), template.digest
            )
            self.arrived(staged, template, target)

    def collect(self, digest: str, location: local.LocalLocation) -> None:
        """Remove a copy that nobody refers to, if that is still so."""
        try:
            lock = fsutil.lock_directory(
                location.paths.copy(digest), wait=_LOCK_WAIT
            )
        except FileNotFoundError:
            self._drop_record(digest, location)
        else:
            if lock is None:
                return  # whoever holds it decides
            with lock:
                if not self._catalog.bindings.is_unreferenced(digest):
                    return
                self._withdraw(digest, location)
            self._step('copy forgotten')

    def _withdraw(self, digest: str, location: local.LocalLocation) -> None:
        """Remove a copy from the disk, and then from the catalog.

        In this order, so that a crash between leaves a record that tells
        what the copy was. A new copy may take its place right after it went:
        the record of that one stays.
        """
        revision = self._catalog.copies.revision(digest, location.record.id)
        location.withdraw(digest)
        self._step('withdrawn')
        self._catalog.copies.forget(digest, location.record.id, revision)

    def release(
        self,
        digest: str,
        location: local.LocalLocation,
        keepers: Iterable[str],
    ) -> None:
        """Remove a copy that others can spare us, if that is still so."""
        try:
            lock = fsutil.lock_directory(location.paths.copy(digest))
        except FileNotFoundError:
            return
        if lock is None:
            return  # somebody is binding an image to it
        with lock:
            if self._catalog.copies.release(
                digest, location.record.id, keepers
            ):
                location.withdraw(digest)

    def _drop_record(self, digest: str, location: local.LocalLocation) -> None:
        """Drop the record of a copy that is not on disk."""
        self._catalog.copies.drop(
            digest, location.record.id, lambda: location.holds(digest)
        )
        self._catalog.bindings.forget(digest)
