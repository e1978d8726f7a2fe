# SPDX-License-Identifier: Apache-2.0
"""Tells the image cache of this node's templates, and the catalog of it."""

from collections.abc import Collection, Iterator, Mapping, Set

from tmpl_glance_store import imagecache
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog.snapshot import Snapshot
from tmpl_glance_store.localstore import location as local


class Publisher:
    """The last step of a pass on a compute node."""

    def __init__(
        self, cache: imagecache.ImageCache, catalog: catalog_domain.Catalog
    ) -> None:
        self._cache = cache
        self._catalog = catalog
        self._wished: frozenset[str] = frozenset()

    def run(
        self,
        now: Snapshot,
        well: Collection[local.LocalLocation],
        arriving: Set[str],
        failed: Set[str],
    ) -> None:
        """Bring Nova's image cache in line with the copies on this node.

        :param well: the locations whose disks are there
        :param arriving: the templates on their way, or about to be
        :param failed: those of them whose last transfer has failed
        """
        self._wished -= failed
        held = dict(self._held(now, well))
        self._cache.run(
            held=[each for _, each in held.values()],
            arriving={
                digest: now.templates[digest].images
                for digest in arriving - held.keys()
                if digest in now.templates
            },
            failed=failed,
            images=_images(now),
            roots=[location.paths.root for location in well],
        )
        for digest, (location_id, _) in held.items():
            self._record(digest, location_id, now)

    @staticmethod
    def _held(
        now: Snapshot, well: Collection[local.LocalLocation]
    ) -> Iterator[tuple[str, tuple[str, imagecache.Held]]]:
        for location in well:
            for digest in sorted(location.held()):
                record = now.templates.get(digest)
                if (
                    record is not None
                    and record.deleted_at is None
                    and record.images
                ):
                    yield (
                        digest,
                        (
                            location.record.id,
                            imagecache.Held(
                                record.template,
                                record.images,
                                location.paths.root,
                                location.paths.copy(digest),
                                location.has_room,
                            ),
                        ),
                    )

    def _record(self, digest: str, location_id: str, now: Snapshot) -> None:
        """Let the catalog know what became of a copy's images."""
        copy = now.copies.get(digest, {}).get(location_id)
        state = (self._cache.published(digest), self._cache.refusal(digest))
        if copy is not None and (copy.published, copy.refused) != state:
            self._catalog.published(digest, location_id, *state)

    def wished(
        self, now: Snapshot, held: Mapping[str, Set[str]]
    ) -> frozenset[str]:
        """Return the templates that Nova fetches, or that we do for it.

        :param held: what is on this node, by location
        """
        images = _images(now)
        here = frozenset().union(*held.values())
        begun = {images[each] for each in self._cache.wishes(images)}
        self._wished = ((self._wished | begun) - here) & now.templates.keys()
        return self._wished

    def spare(self) -> frozenset[str]:
        """Return the templates whose originals no image needs here."""
        return self._cache.spare()

    def next_change(self) -> float | None:
        """Return the seconds until time alone changes something, or None."""
        return self._cache.next_change()


def _images(now: Snapshot) -> dict[str, str]:
    """Return the templates of the images that live, by the images' ids."""
    return {
        image_id: digest
        for digest, record in now.templates.items()
        if record.deleted_at is None
        for image_id in record.images
    }
