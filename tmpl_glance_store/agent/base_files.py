# SPDX-License-Identifier: Apache-2.0
"""The step of a pass on a compute node: base files for Nova.

A pass begins with :meth:`BaseFiles.take_downloads`; the plan needs the demand
that comes of it. It ends with :meth:`BaseFiles.run`.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Set

from tmpl_glance_store import imagecache
from tmpl_glance_store import objects
from tmpl_glance_store.catalog.snapshot import Snapshot
from tmpl_glance_store.localstore import location as local


@dataclasses.dataclass(frozen=True)
class Demand:
    """What Nova makes of the templates: all are digests.

    ``wished`` are those that Nova downloads to this node, or that are fetched
    because it did; ``spare`` those whose originals no image needs here.
    """

    wished: frozenset[str] = frozenset()
    spare: frozenset[str] = frozenset()


class Step:
    """The step of a node without Nova: there is nothing to do."""

    @property
    def demand(self) -> Demand:
        """What Nova makes of the templates, as of the last news."""
        return Demand()

    def take_downloads(self, now: Snapshot, here: Set[str]) -> None:
        """Take what Nova has begun since the last pass; once a pass.

        :param here: the templates with a copy on this node
        """

    def run(
        self,
        now: Snapshot,
        well: Collection[local.LocalLocation],
        arriving: Set[str],
        failed: Set[str],
    ) -> None:
        """Make base files of the copies on this node, and let others know.

        :param well: the locations whose disks are there
        :param arriving: the templates on their way, or about to be
        :param failed: those of them whose last transfer has failed
        :raises Unavailable: if the catalog cannot be reached
        """

    def next_change(self) -> float | None:
        """Return the seconds until time alone changes something, or None."""
        return None


class BaseFiles(Step):
    """Keeps Nova's image cache in line with the copies on this node.

    :param published: tells the catalog of the copy (digest, location id)
        which images its base files serve, and why it has none
    """

    def __init__(
        self,
        cache: imagecache.ImageCache,
        published: Callable[[str, str, tuple[str, ...], str], None],
    ) -> None:
        self._cache = cache
        self._published = published
        self._wished: frozenset[str] = frozenset()

    @property
    def demand(self) -> Demand:
        """What Nova makes of the templates, as of the last news."""
        return Demand(self._wished, self._cache.outcome.spare)

    def take_downloads(self, now: Snapshot, here: Set[str]) -> None:
        """Take what Nova has begun since the last pass; once a pass.

        :param here: the templates with a copy on this node
        """
        images = _images(now)
        begun = {images[each] for each in self._cache.take_downloads(images)}
        self._wished = ((self._wished | begun) - here) & now.templates.keys()

    def next_change(self) -> float | None:
        """Return the seconds until time alone changes something, or None."""
        return self._cache.outcome.next_change

    def run(
        self,
        now: Snapshot,
        well: Collection[local.LocalLocation],
        arriving: Set[str],
        failed: Set[str],
    ) -> None:
        """Make base files of the copies on this node, and let others know.

        :param well: the locations whose disks are there
        :param arriving: the templates on their way, or about to be
        :param failed: those of them whose last transfer has failed
        :raises Unavailable: if the catalog cannot be reached
        """
        self._wished -= failed
        held = {
            each.digest: (location, each)
            for location in well
            for each in _held(now, location)
        }
        outcome = self._cache.run(
            held=[each for _, each in held.values()],
            arriving={
                digest: now.templates[digest].images
                for digest in arriving - held.keys()
                if digest in now.templates and _may_boot(now.templates[digest])
            },
            failed=failed,
            images=_images(now),
            roots=[location.paths.root for location in well],
        )
        for digest, (location, _) in held.items():
            self._record(digest, location.record.id, now, outcome)

    def _record(
        self,
        digest: str,
        location_id: str,
        now: Snapshot,
        outcome: imagecache.Outcome,
    ) -> None:
        """Let the catalog know what became of a copy's images."""
        copy = now.copies.get(digest, {}).get(location_id)
        published = outcome.published.get(digest, ())
        refused = outcome.refusals.get(digest, '')
        if copy is not None and (
            (copy.published, copy.refused) != (published, refused)
        ):
            self._published(digest, location_id, published, refused)


def _held(
    now: Snapshot, location: local.LocalLocation
) -> Iterator[imagecache.Held]:
    """Yield the copies in a location of which base files are to be made."""
    for digest in sorted(location.held()):
        record = now.templates.get(digest)
        if record is not None and record.images and _may_boot(record):
            yield imagecache.Held(
                record.template,
                record.images,
                location.paths.root,
                location.paths.copy(digest),
                location.has_room,
            )


def _images(now: Snapshot) -> dict[str, str]:
    """Return the templates of the images that may boot, by the images' ids."""
    return {
        image_id: digest
        for image_id, digest in now.images().items()
        if _may_boot(now.templates[digest])
    }


def _may_boot(record: objects.TemplateRecord) -> bool:
    """Tell whether Nova may make instances of a template.

    It makes an image of no bytes for each snapshot of an instance that boots
    from a volume, and never a base file of one: there may be tens of
    thousands.

    Source: ``snapshot_volume_backed`` in nova/compute/api.py.
    """
    template = record.template
    return (
        record.deleted_at is None and template.size > 0 and not template.held
    )
