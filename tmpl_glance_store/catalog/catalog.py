# SPDX-License-Identifier: Apache-2.0
"""Templates, images, locations and copies, on the key-value contract.

Keys are those of DESIGN section 5. Every decision between two writers is one
compare-and-swap on the template's record, which lists the images bound to it.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import contract

_ATTEMPTS = 100


class Catalog:
    """What the cluster *cluster* knows.

    All methods raise :class:`~tmpl_glance_store.exceptions.Unavailable` when
    the store beneath cannot be reached.

    :param store: a driver of the key-value contract
    :param clock: seconds since the epoch
    """

    def __init__(
        self,
        store: contract.KeyValue,
        cluster: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock = clock
        self._root = f'/tmpl/{cluster}/v1'

    @property
    def root(self) -> str:
        """What the keys of the cluster begin with, without a slash."""
        return self._root

    def entries(self) -> list[contract.Entry]:
        """Return all that the cluster knows, as it is at one moment."""
        return self._store.list(f'{self._root}/')

    def close(self) -> None:
        """Give up connections."""
        self._store.close()

    # Images and templates

    def image(self, image_id: str) -> objects.Image:
        """Return the binding of an image.

        :raises NotFound: if the image is not bound
        """
        entry = self._store.get(self._image_key(image_id))
        if entry is None:
            raise exceptions.NotFound(f'image {image_id} is not stored here')
        return objects.Image.from_json(entry.value)

    def images(self) -> list[objects.Image]:
        """Return all bindings."""
        return [
            objects.Image.from_json(entry.value)
            for entry in self._store.list(f'{self._root}/images/')
        ]

    def template(self, digest: str) -> objects.TemplateRecord | None:
        """Return the record of a template, or None."""
        return self._template(digest)[0]

    def templates(self) -> list[objects.TemplateRecord]:
        """Return the records of all templates."""
        return [
            objects.TemplateRecord.from_json(entry.value)
            for entry in self._store.list(f'{self._root}/templates/')
        ]

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
        image_key = self._image_key(image.image_id)

        def attempt() -> bool:
            record, revision = self._template(template.digest)
            record = record or objects.TemplateRecord(template)
            bound = dataclasses.replace(
                record,
                deleted_at=None,
                images=tuple(sorted({*record.images, image.image_id})),
            )
            if self._store.get(image_key) is not None:
                raise exceptions.Duplicate(
                    f'image {image.image_id} is stored already'
                )
            copy = self._copy(template.digest, location_id)
            if not copy.complete:
                copy = dataclasses.replace(
                    copy, complete=True, verified_at=self._clock()
                )
            return self._store.commit(
                [
                    contract.Compare(image_key, 0),
                    contract.Compare(
                        self._template_key(template.digest), revision
                    ),
                ],
                [
                    contract.Put(image_key, image.to_json()),
                    self._put_template(bound),
                    self._put_copy(copy),
                ],
            )

        self._retry(attempt)

    def unbind(self, image: objects.Image) -> bool:
        """Unbind *image*; True if nobody refers to its template any more.

        The record of such a template is marked as deleted, not removed: its
        copies go first.

        :raises NotFound: if exactly this binding does not exist (any more)
        """
        image_key = self._image_key(image.image_id)

        def attempt() -> bool:
            entry = self._store.get(image_key)
            if entry is None or not objects.Image.from_json(
                entry.value
            ).is_bound(image.digest, image.token):
                raise exceptions.NotFound(
                    f'image {image.image_id} is not stored here'
                )
            record, revision = self._template(image.digest)
            writes: list[contract.Put | contract.Delete] = [
                contract.Delete(image_key)
            ]
            if record is not None:
                left = tuple(i for i in record.images if i != image.image_id)
                deleted_at = None if left else self._clock()
                writes.append(
                    self._put_template(
                        dataclasses.replace(
                            record, images=left, deleted_at=deleted_at
                        )
                    )
                )
            return self._store.commit(
                [
                    contract.Compare(image_key, entry.revision),
                    contract.Compare(
                        self._template_key(image.digest), revision
                    ),
                ],
                writes,
            )

        self._retry(attempt)
        return self.unreferenced(image.digest)

    def unreferenced(self, digest: str) -> bool:
        """Tell whether a template's copies may go: its last image went."""
        record = self.template(digest)
        return record is not None and record.deleted_at is not None

    def pin(self, digest: str, pinned: bool) -> objects.TemplateRecord:
        """Let a template go to all nodes, or no more; return its record.

        :raises NotFound: if there is no such template, or it is being removed
        """

        def attempt() -> bool:
            record, revision = self._template(digest)
            if record is None or record.deleted_at is not None:
                raise exceptions.NotFound(f'template {digest} is not stored')
            if record.pinned == pinned:
                return True
            return self._store.commit(
                [contract.Compare(self._template_key(digest), revision)],
                [
                    self._put_template(
                        dataclasses.replace(record, pinned=pinned)
                    )
                ],
            )

        self._retry(attempt)
        record = self.template(digest)
        if record is None:
            raise exceptions.NotFound(f'template {digest} is not stored')
        return record

    def forget_template(self, digest: str) -> bool:
        """Remove the record of an unreferenced template without copies.

        :returns: whether it is gone; False if it lives again or has copies
        """
        record, revision = self._template(digest)
        if record is None:
            return True
        if record.deleted_at is None or self.copies(digest):
            return False
        key = self._template_key(digest)
        return self._store.commit(
            [contract.Compare(key, revision)], [contract.Delete(key)]
        )

    # Copies

    def copies(self, digest: str) -> list[objects.Copy]:
        """Return the copies of a template, intended ones included."""
        return self._copies(f'{digest}/')

    def all_copies(self) -> list[objects.Copy]:
        """Return all copies of the cluster, intended ones included."""
        return self._copies()

    def copies_in(self, location_id: str) -> dict[str, objects.Copy]:
        """Return the copies in a location, by digest."""
        return {
            copy.digest: copy
            for copy in self._copies()
            if copy.location_id == location_id
        }

    def intend(self, digest: str, location_id: str) -> None:
        """Record that a copy is about to be placed.

        A crash before the copy is bound leaves this record, which tells the
        next start that nobody has been promised that copy.
        """
        key = self._copy_key(digest, location_id)
        copy = objects.Copy(digest, location_id, complete=False)
        # If there is a record it stays: its copy is at least as good.
        self._store.commit(
            [contract.Compare(key, 0)], [contract.Put(key, copy.to_json())]
        )

    def adopt(
        self,
        template: objects.Template,
        location_id: str,
        proved: bool = False,
    ) -> None:
        """Record a complete copy found on disk, and its template if lost.

        Nothing is written if both are known.

        :param proved: whether every byte of it has just been proved
        """

        def attempt() -> bool:
            record, revision = self._template(template.digest)
            copy = self._copy(template.digest, location_id)
            if record is not None and copy.complete and not proved:
                return True
            verified_at = self._clock() if proved else copy.verified_at
            # The template's record is written in any case: who forgets it
            # at the same time must see that there is a copy again.
            return self._store.commit(
                [
                    contract.Compare(
                        self._template_key(template.digest), revision
                    )
                ],
                [
                    self._put_template(
                        record or objects.TemplateRecord(template)
                    ),
                    self._put_copy(
                        dataclasses.replace(
                            copy, complete=True, verified_at=verified_at
                        )
                    ),
                ],
            )

        self._retry(attempt)

    def verified(self, digest: str, location_id: str) -> None:
        """Record that a copy has just been proved again."""
        entry = self._store.get(self._copy_key(digest, location_id))
        if entry is None:
            return
        copy = objects.Copy.from_json(entry.value)
        if copy.complete:
            self._store.commit(
                [contract.Compare(entry.key, entry.revision)],
                [
                    self._put_copy(
                        dataclasses.replace(copy, verified_at=self._clock())
                    )
                ],
            )

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
        entry = self._store.get(self._copy_key(digest, location_id))
        if entry is None:
            return
        copy = objects.Copy.from_json(entry.value)
        now = dataclasses.replace(copy, published=images, refused=refused)
        if now != copy:
            self._store.commit(
                [contract.Compare(entry.key, entry.revision)],
                [self._put_copy(now)],
            )

    def forget_copy(
        self, digest: str, location_id: str, revision: int | None = None
    ) -> None:
        """Remove the record of a copy that is not on disk any more.

        :param revision: of the record, if it must not have changed since
        """
        key = self._copy_key(digest, location_id)
        compares = (
            [] if revision is None else [contract.Compare(key, revision)]
        )
        self._store.commit(compares, [contract.Delete(key)])

    def copy_revision(self, digest: str, location_id: str) -> int:
        """Return the revision of a copy's record, 0 if there is none."""
        entry = self._store.get(self._copy_key(digest, location_id))
        return entry.revision if entry is not None else 0

    def release(
        self, digest: str, location_id: str, keepers: Iterable[str]
    ) -> bool:
        """Forget a copy if all *keepers* (location ids) are complete.

        Two nodes that would each rely on the other cannot both succeed.

        :returns: whether the copy may be removed from disk now
        """
        compares = []
        for keeper in keepers:
            entry = self._store.get(self._copy_key(digest, keeper))
            if (
                entry is None
                or not objects.Copy.from_json(entry.value).complete
            ):
                return False
            compares.append(contract.Compare(entry.key, entry.revision))
        return bool(compares) and self._store.commit(
            compares, [contract.Delete(self._copy_key(digest, location_id))]
        )

    def drop_copy(
        self, digest: str, location_id: str, is_there: Callable[[], bool]
    ) -> None:
        """Forget a copy unless *is_there*; one just bound stays as well."""
        revision = self.copy_revision(digest, location_id)
        if revision and not is_there():
            self.forget_copy(digest, location_id, revision)

    # Nodes

    def nodes(self) -> dict[str, objects.Node]:
        """Return the live nodes, by name."""
        prefix = f'{self._root}/nodes/'
        return {
            entry.key.removeprefix(prefix): objects.Node.from_json(entry.value)
            for entry in self._store.list(prefix)
        }

    def nodes_with(self, digest: str) -> set[str]:
        """Return the names of the nodes with a complete copy, live or not."""
        complete = {
            copy.location_id for copy in self.copies(digest) if copy.complete
        }
        return {
            location.node
            for location in self.locations()
            if location.id in complete
        }

    def holders(self, digest: str) -> list[objects.Node]:
        """Return the live nodes with a complete copy of a template."""
        names = self.nodes_with(digest)
        return [node for name, node in self.nodes().items() if name in names]

    def announce(self, node: objects.Node, lease: int) -> None:
        """Record a live node for as long as its lease lives.

        :raises NotFound: if the lease has expired
        """
        self._store.commit(
            [],
            [
                contract.Put(
                    f'{self._root}/nodes/{node.name}', node.to_json(), lease
                )
            ],
        )

    def grant(self, ttl: int) -> int:
        """Return a new lease of *ttl* seconds."""
        return self._store.grant(ttl)

    def keep_alive(self, lease: int) -> bool:
        """Begin the lease's time anew; False if it has expired."""
        return self._store.keep_alive(lease)

    def revoke(self, lease: int) -> None:
        """End a lease: its node is gone at once."""
        self._store.revoke(lease)

    def watch(self) -> contract.Watch:
        """Return a watch of everything in the cluster."""
        return self._store.watch(f'{self._root}/')

    # Locations

    def locations(self) -> list[objects.Location]:
        """Return all locations of the cluster, by id."""
        return [
            objects.Location.from_json(entry.value)
            for entry in self._store.list(f'{self._root}/locations/')
        ]

    def put_location(self, location: objects.Location) -> None:
        """Record a location; nothing is written if nothing changed."""
        key = f'{self._root}/locations/{location.id}'
        entry = self._store.get(key)
        if entry is None or entry.value != location.to_json():
            self._store.commit([], [contract.Put(key, location.to_json())])

    def drain(self, node: str) -> list[objects.Location]:
        """Take the node's locations out of the placement.

        :returns: its locations as they are now
        :raises NotFound: if the node has none
        :raises Invalid: if no other node has an active one: the copies could
            go nowhere
        """
        known = self.locations()
        if any(each.node == node for each in known) and not any(
            each.node != node
            and each.state == objects.ACTIVE
            and each.tier != objects.STAGING
            for each in known
        ):
            raise exceptions.Invalid(
                f'no other node than {node} has an active location, which '
                f'could take its copies'
            )
        return self._set_states(node, objects.ACTIVE, objects.DRAINING)

    def resume(self, node: str) -> list[objects.Location]:
        """Let the node's locations count again after :meth:`drain`.

        :returns: its locations as they are now
        :raises NotFound: if the node has none
        """
        return self._set_states(node, objects.DRAINING, objects.ACTIVE)

    def _set_states(
        self, node: str, old: str, new: str
    ) -> list[objects.Location]:
        """Change the state of a node's locations where it is *old*."""
        for location in self.locations():
            if location.node == node:
                self._retry(
                    functools.partial(self._set_state, location.id, old, new)
                )
        changed = [each for each in self.locations() if each.node == node]
        if not changed:
            raise exceptions.NotFound(f'no node {node} has a location')
        return changed

    def _set_state(self, location_id: str, old: str, new: str) -> bool:
        entry = self._store.get(f'{self._root}/locations/{location_id}')
        if entry is None:
            return True
        location = objects.Location.from_json(entry.value)
        if location.state != old:
            return True
        return self._store.commit(
            [contract.Compare(entry.key, entry.revision)],
            [
                contract.Put(
                    entry.key,
                    dataclasses.replace(location, state=new).to_json(),
                )
            ],
        )

    # Keys and records

    def _image_key(self, image_id: str) -> str:
        # Glance allows upper case in the ids of images, our URLs do not.
        return f'{self._root}/images/{image_id.lower()}'

    def _template_key(self, digest: str) -> str:
        return f'{self._root}/templates/{digest}'

    def _copy_key(self, digest: str, location_id: str) -> str:
        return f'{self._root}/copies/{digest}/{location_id}'

    def _template(
        self, digest: str
    ) -> tuple[objects.TemplateRecord | None, int]:
        entry = self._store.get(self._template_key(digest))
        if entry is None:
            return None, 0
        return (objects.TemplateRecord.from_json(entry.value), entry.revision)

    def _copy(self, digest: str, location_id: str) -> objects.Copy:
        entry = self._store.get(self._copy_key(digest, location_id))
        if entry is None:
            return objects.Copy(digest, location_id, complete=False)
        return objects.Copy.from_json(entry.value)

    def _copies(self, below: str = '') -> list[objects.Copy]:
        return [
            objects.Copy.from_json(entry.value)
            for entry in self._store.list(f'{self._root}/copies/{below}')
        ]

    def _put_template(self, record: objects.TemplateRecord) -> contract.Put:
        return contract.Put(
            self._template_key(record.template.digest), record.to_json()
        )

    def _put_copy(self, copy: objects.Copy) -> contract.Put:
        return contract.Put(
            self._copy_key(copy.digest, copy.location_id), copy.to_json()
        )

    @staticmethod
    def _retry(attempt: Callable[[], bool]) -> None:
        for _ in range(_ATTEMPTS):
            if attempt():
                return
        raise exceptions.Unavailable(
            'the catalog changes too fast to be written; try again'
        )
