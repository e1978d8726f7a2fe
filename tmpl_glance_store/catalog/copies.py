# SPDX-License-Identifier: Apache-2.0
"""Which location has a copy of which template, as its node last said."""

import dataclasses
from collections.abc import Callable, Iterable

from tmpl_glance_store import objects
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import records as catalog_records


class Copies:
    """The copies of a cluster.

    :param clock: seconds since the epoch
    """

    def __init__(
        self, records: catalog_records.Records, clock: Callable[[], float]
    ) -> None:
        self._records = records
        self._clock = clock

    def of(self, digest: str) -> list[objects.Copy]:
        """Return the copies of a template, intended ones included."""
        return list(
            self._records.copies.select(
                catalog_records.copy_name(digest, location.id)
                for location in self._records.locations.list()
            )
        )

    def exist(self, digest: str) -> bool:
        """Tell whether there is a record of any copy of a template."""
        return bool(self.of(digest))

    def all(self) -> list[objects.Copy]:
        """Return all copies of the cluster, intended ones included."""
        return self._records.copies.list()

    def in_location(self, location_id: str) -> dict[str, objects.Copy]:
        """Return the copies in a location, by digest."""
        found = self._records.copies.list(
            catalog_records.copy_name('', location_id)
        )
        return {copy.digest: copy for copy in found}

    def intend(self, digest: str, location_id: str) -> None:
        """Record that a copy is about to be placed.

        A crash before the copy is bound leaves this record, which tells the
        next start that nobody has been promised that copy.
        """
        write = self._records.copies.put(
            objects.Copy(digest, location_id, complete=False)
        )
        # If there is a record it stays: its copy is at least as good.
        self._records.store.commit([contract.Compare(write.key, 0)], [write])

    def adopt(
        self, digest: str, location_id: str, proved: bool = False
    ) -> None:
        """Record a complete copy found on disk; nothing if it is known.

        :param proved: whether every byte of it has just been proved
        """
        catalog_records.retry(
            lambda: self._try_to_adopt(digest, location_id, proved)
        )

    def _try_to_adopt(
        self, digest: str, location_id: str, proved: bool
    ) -> bool:
        found = self._find(digest, location_id)
        copy = found.record or objects.Copy(digest, location_id, False)
        if copy.complete and not proved:
            return True
        verified_at = self._clock() if proved else copy.verified_at
        return self._records.store.commit(
            [found.unchanged()],
            [
                self._records.copies.put(
                    dataclasses.replace(
                        copy, complete=True, verified_at=verified_at
                    )
                ),
            ],
        )

    def verified(self, digest: str, location_id: str) -> None:
        """Record that a copy has just been proved again."""
        found = self._find(digest, location_id)
        if found.record is not None and found.record.complete:
            self._update(found, verified_at=self._clock())

    def published(
        self,
        digest: str,
        location_id: str,
        images: tuple[str, ...],
        refused: str,
    ) -> None:
        """Record what a node has published of a copy; see ``objects.Copy``.

        Nothing is written if nothing changed, or the copy is gone.
        """
        self._update(
            self._find(digest, location_id), published=images, refused=refused
        )

    def _update(
        self, found: catalog_records.Found[objects.Copy], **news: object
    ) -> None:
        """Write *news* of a copy, unless another has just written it."""
        if found.record is None:
            return
        now = dataclasses.replace(found.record, **news)  # type: ignore
        if now != found.record:
            self._records.store.commit(
                [found.unchanged()], [self._records.copies.put(now)]
            )

    def forget(
        self, digest: str, location_id: str, revision: int | None = None
    ) -> None:
        """Remove the record of a copy that is not on disk any more.

        :param revision: of the record, if it must not have changed since
        """
        key = self._key(digest, location_id)
        compares = (
            [] if revision is None else [contract.Compare(key, revision)]
        )
        self._records.store.commit(compares, [contract.Delete(key)])

    def revision(self, digest: str, location_id: str) -> int:
        """Return the revision of a copy's record, 0 if there is none."""
        return self._find(digest, location_id).revision

    def release(
        self, digest: str, location_id: str, keepers: Iterable[str]
    ) -> bool:
        """Forget a copy if all *keepers* (location ids) are complete.

        Two nodes that would each rely on the other cannot both succeed.

        :returns: whether the copy may be removed from disk now
        """
        compares = []
        for keeper in keepers:
            found = self._find(digest, keeper)
            if found.record is None or not found.record.complete:
                return False
            compares.append(found.unchanged())
        return bool(compares) and self._records.store.commit(
            compares, [contract.Delete(self._key(digest, location_id))]
        )

    def drop(
        self, digest: str, location_id: str, is_there: Callable[[], bool]
    ) -> None:
        """Forget a copy unless *is_there*; one just bound stays as well."""
        revision = self.revision(digest, location_id)
        if revision and not is_there():
            self.forget(digest, location_id, revision)

    def _find(
        self, digest: str, location_id: str
    ) -> catalog_records.Found[objects.Copy]:
        # One that cannot be read is none: its node writes it anew.
        return self._records.copies.look(
            catalog_records.copy_name(digest, location_id)
        )

    def _key(self, digest: str, location_id: str) -> str:
        return self._records.copies.key(
            objects.Copy(digest, location_id, complete=False)
        )
