# SPDX-License-Identifier: Apache-2.0
"""Which image is which template, and which template nobody needs any more.

Every decision between two writers is one compare-and-swap on the template's
record, which lists the images bound to it.
"""

import dataclasses
from collections.abc import Callable

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import records as catalog_records


class Bindings:
    """The images and the templates of a cluster.

    :param clock: seconds since the epoch
    """

    def __init__(
        self, records: catalog_records.Records, clock: Callable[[], float]
    ) -> None:
        self._records = records
        self._clock = clock

    def image(self, image_id: str) -> objects.Image:
        """Return the binding of an image.

        :raises NotFound: if the image is not bound
        """
        image = self._find_image(image_id).record
        if image is None:
            raise exceptions.NotFound(f'image {image_id} is not stored here')
        return image

    def images(self) -> list[objects.Image]:
        """Return all bindings."""
        return self._records.images.list()

    def template(self, digest: str) -> objects.TemplateRecord | None:
        """Return the record of a template, or None."""
        return self._records.templates.get(digest)

    def templates(self) -> list[objects.TemplateRecord]:
        """Return the records of all templates."""
        return self._records.templates.list()

    def is_unreferenced(self, digest: str) -> bool:
        """Tell whether a template's copies may go: its last image went."""
        record = self.template(digest)
        return record is not None and record.deleted_at is not None

    def bind(
        self,
        image: objects.Image,
        template: objects.Template,
        location_id: str,
    ) -> None:
        """Bind *image* to *template*, of which a location has a proven copy.

        Also records the template and the copy; a template that was being
        removed lives again.

        :raises Duplicate: if the image is bound already
        """
        catalog_records.retry(
            lambda: self._try_to_bind(image, template, location_id)
        )

    def _try_to_bind(
        self,
        image: objects.Image,
        template: objects.Template,
        location_id: str,
    ) -> bool:
        found = self._records.templates.find(template.digest)
        free = self._find_image(image.image_id)
        if free.record is not None:
            raise exceptions.Duplicate(
                f'image {image.image_id} is stored already'
            )
        record = found.record or objects.TemplateRecord(template)
        bound = dataclasses.replace(
            record,
            deleted_at=None,
            images=tuple(sorted({*record.images, image.image_id})),
        )
        return self._records.store.commit(
            [free.unchanged(), found.unchanged()],
            [
                self._records.images.put(image),
                self._records.templates.put(bound),
                self._records.copies.put(
                    self._proven_copy(template.digest, location_id)
                ),
            ],
        )

    def _proven_copy(self, digest: str, location_id: str) -> objects.Copy:
        copy = self._records.copies.get(
            catalog_records.copy_name(digest, location_id)
        )
        if copy is not None and copy.complete:
            return copy
        return dataclasses.replace(
            copy or objects.Copy(digest, location_id, complete=False),
            complete=True,
            verified_at=self._clock(),
        )

    def unbind(self, image: objects.Image) -> bool:
        """Unbind *image*; True if nobody refers to its template any more.

        The record of such a template is marked as deleted, not removed: its
        copies go first.

        :raises NotFound: if exactly this binding does not exist (any more)
        """
        catalog_records.retry(lambda: self._try_to_unbind(image))
        return self.is_unreferenced(image.digest)

    def _try_to_unbind(self, image: objects.Image) -> bool:
        bound = self._find_image(image.image_id)
        if bound.record is None or not bound.record.is_bound(
            image.digest, image.token
        ):
            raise exceptions.NotFound(
                f'image {image.image_id} is not stored here'
            )
        found = self._records.templates.find(image.digest)
        writes: list[contract.Put | contract.Delete] = [
            contract.Delete(bound.key)
        ]
        if found.record is not None:
            writes.append(
                self._records.templates.put(
                    self._without(found.record, image.image_id)
                )
            )
        return self._records.store.commit(
            [bound.unchanged(), found.unchanged()], writes
        )

    def _without(
        self, record: objects.TemplateRecord, image_id: str
    ) -> objects.TemplateRecord:
        left = tuple(each for each in record.images if each != image_id)
        return dataclasses.replace(
            record, images=left, deleted_at=None if left else self._clock()
        )

    def pin(self, digest: str, pinned: bool) -> objects.TemplateRecord:
        """Let a template go to all nodes, or no more; return its record.

        :raises NotFound: if there is no such template, or it is being removed
        """
        catalog_records.retry(lambda: self._try_to_pin(digest, pinned))
        record = self.template(digest)
        if record is None:
            raise exceptions.NotFound(f'template {digest} is not stored')
        return record

    def _try_to_pin(self, digest: str, pinned: bool) -> bool:
        found = self._records.templates.find(digest)
        if found.record is None or found.record.deleted_at is not None:
            raise exceptions.NotFound(f'template {digest} is not stored')
        if found.record.pinned == pinned:
            return True
        return self._records.store.commit(
            [found.unchanged()],
            [
                self._records.templates.put(
                    dataclasses.replace(found.record, pinned=pinned)
                )
            ],
        )

    def forget(self, digest: str) -> bool:
        """Remove the record of an unreferenced template without copies.

        :returns: whether it is gone; False if it lives again or has copies
        """
        found = self._records.templates.find(digest)
        if found.record is None:
            return True
        if found.record.deleted_at is None or self._records.copies.list(
            f'{digest}/'
        ):
            return False
        return self._records.store.commit(
            [found.unchanged()], [contract.Delete(found.key)]
        )

    def _find_image(
        self, image_id: str
    ) -> catalog_records.Found[objects.Image]:
        return self._records.images.find(catalog_records.image_name(image_id))
