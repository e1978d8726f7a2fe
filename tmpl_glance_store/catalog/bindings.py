# SPDX-License-Identifier: Apache-2.0
"""Which image is which template, and which template nobody needs any more.

Written by Glance's hosts, and by operators. Each transaction that changes who
claims a template also writes its head, whose revision decides between two of
them; so the cost does not grow with the number of claims.
"""

import dataclasses
from collections.abc import Callable

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import records as catalog_records


class Bindings:
    """The images and the templates of a cluster.

    :param copied: tells whether there is a record of any copy of a template
    :param clock: seconds since the epoch
    """

    def __init__(
        self,
        records: catalog_records.Records,
        copied: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._copied = copied
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

    def facts(self, digest: str) -> objects.Template | None:
        """Return the facts of a template, or None."""
        return self._records.templates.get(digest)

    def template(self, digest: str) -> objects.TemplateRecord | None:
        """Return the facts of a template and the claims on it, or None."""
        facts = self.facts(digest)
        if facts is None:
            return None
        claims = self._records.claims.list(catalog_records.claim_name(digest))
        deletion = self._records.deletions.get(digest)
        return objects.TemplateRecord(
            facts,
            tuple(sorted(each.image_id for each in claims)),
            self._records.pins.get(digest) is not None,
            deletion.deleted_at if deletion else None,
        )

    def templates(self) -> list[objects.TemplateRecord]:
        """Return the facts of all templates and the claims on them."""
        images: dict[str, list[str]] = {}
        for claim in self._records.claims.list():
            images.setdefault(claim.digest, []).append(claim.image_id)
        pinned = {each.digest for each in self._records.pins.list()}
        deleted = {
            each.digest: each.deleted_at
            for each in self._records.deletions.list()
        }
        return [
            objects.TemplateRecord(
                facts,
                tuple(sorted(images.get(facts.digest, ()))),
                facts.digest in pinned,
                deleted.get(facts.digest),
            )
            for facts in self._records.templates.list()
        ]

    def is_claimed(self, digest: str) -> bool:
        """Tell whether an image is bound to a template."""
        head = self._records.heads.get(digest)
        return head is not None and head.images > 0

    def is_unreferenced(self, digest: str) -> bool:
        """Tell whether a template's copies may go: its last image went."""
        return self._records.deletions.get(digest) is not None

    def deleted(self) -> list[str]:
        """Return the digests of the templates whose copies may go."""
        return [each.digest for each in self._records.deletions.list()]

    def bind(
        self,
        image: objects.Image,
        template: objects.Template,
        location_id: str,
    ) -> None:
        """Bind *image* to *template*, of which a location has a proven copy.

        Also records the facts and the copy; a template that was being
        removed lives again. An image that is bound to the same template is
        bound again, with the new token: whoever has bound it has died before
        Glance noted the location.

        :raises Duplicate: if the image is bound to another template
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
        records, digest = self._records, template.digest
        bound = self._find_image(image.image_id)
        if bound.record is not None and (
            bound.record.image_id != image.image_id
            or bound.record.digest != digest
        ):
            raise exceptions.Duplicate(
                f'image {bound.record.image_id} is stored already'
            )
        head = records.heads.find(digest)
        facts = records.templates.find(digest)
        claims = 1 + self._claims_besides(bound, image, head)
        return records.store.commit(
            [bound.unchanged(), head.unchanged(), facts.unchanged()],
            [
                records.images.put(image),
                records.claims.put(objects.Claim(digest, image.image_id)),
                records.heads.put(objects.Head(digest, claims)),
                contract.Delete(records.deletions.at(digest)),
                *([] if facts.record else [records.templates.put(template)]),
                records.copies.put(self._proven_copy(digest, location_id)),
            ],
        )

    def _proven_copy(self, digest: str, location_id: str) -> objects.Copy:
        copy = self._records.copies.look(
            catalog_records.copy_name(digest, location_id)
        ).record
        if copy is not None and copy.complete:
            return copy
        return dataclasses.replace(
            copy or objects.Copy(digest, location_id, complete=False),
            complete=True,
            verified_at=self._clock(),
        )

    def unbind(self, image: objects.Image) -> bool:
        """Unbind *image*; True if nobody claims its template any more.

        The facts of such a template stay: its copies go first.

        :raises NotFound: if exactly this binding does not exist (any more)
        """
        catalog_records.retry(lambda: self._try_to_unbind(image))
        return self.is_unreferenced(image.digest)

    def _try_to_unbind(self, image: objects.Image) -> bool:
        records, digest = self._records, image.digest
        bound = self._find_image(image.image_id)
        if bound.record is None or (
            (bound.record.digest, bound.record.token_hash)
            != (digest, image.token_hash)
        ):
            raise exceptions.NotFound(
                f'image {image.image_id} is not stored here'
            )
        head = records.heads.find(digest)
        left = self._claims_besides(bound, image, head)
        deletion = objects.Deletion(digest, self._clock())
        return records.store.commit(
            [bound.unchanged(), head.unchanged()],
            [
                contract.Delete(bound.key),
                contract.Delete(
                    records.claims.at(
                        catalog_records.claim_name(digest, image.image_id)
                    )
                ),
                records.heads.put(objects.Head(digest, left)),
                *([] if left > 0 else [records.deletions.put(deletion)]),
            ],
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
        records = self._records
        facts = records.templates.find(digest)
        deletion = records.deletions.find(digest)
        if facts.record is None or deletion.record is not None:
            raise exceptions.NotFound(f'template {digest} is not stored')
        pin = records.pins.find(digest)
        if (pin.record is not None) == pinned:
            return True
        return records.store.commit(
            [pin.unchanged(), facts.unchanged(), deletion.unchanged()],
            [
                records.pins.put(objects.Pin(digest, self._clock()))
                if pinned
                else contract.Delete(pin.key)
            ],
        )

    def restore(self, template: objects.Template) -> None:
        """Record the facts of a copy found on disk, if they were lost.

        :raises Forbidden: if this process may not write facts
        """
        write = self._records.templates.put(template)
        if self._records.store.get(write.key) is None:
            self._records.store.commit(
                [contract.Compare(write.key, 0)], [write]
            )

    def forget(self, digest: str) -> bool:
        """Remove what is known of an unreferenced template without copies.

        :returns: whether it is gone; False if it lives again or has copies
        :raises Forbidden: if this process may not write facts
        """
        records = self._records
        deletion = records.deletions.find(digest)
        facts = records.templates.find(digest)
        if deletion.record is None:
            return facts.record is None
        head = records.heads.find(digest)
        if self._copied(digest):
            return False
        return records.store.commit(
            [deletion.unchanged(), facts.unchanged(), head.unchanged()],
            [
                contract.Delete(facts.key),
                contract.Delete(head.key),
                contract.Delete(records.pins.at(digest)),
                contract.Delete(deletion.key),
            ],
        )

    def _claims_besides(
        self,
        bound: catalog_records.Found[objects.Image],
        image: objects.Image,
        head: catalog_records.Found[objects.Head],
    ) -> int:
        """Return how many other images claim the template of *image*.

        :param bound: the binding of *image* now
        :param head: the template's
        """
        if head.record is not None:
            return max(head.record.images - (bound.record is not None), 0)
        # There is none yet, or it was lost: then nothing may be deleted that
        # somebody claims.
        name = catalog_records.claim_name(image.digest)
        own = catalog_records.image_name(image)
        return sum(
            catalog_records.image_name(claim.image_id) != own
            for claim in self._records.claims.list(name)
        )

    def _find_image(
        self, image_id: str
    ) -> catalog_records.Found[objects.Image]:
        return self._records.images.find(catalog_records.image_name(image_id))
