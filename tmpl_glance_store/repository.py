# SPDX-License-Identifier: Apache-2.0
"""Templates: added, read and removed; the disk and the catalog kept in step.

Who places a copy holds its directory's lock until the catalog knows it; who
removes one takes the same lock and then asks the catalog again. So no upload
is bound to a copy that is being removed, in whichever order they meet.
"""

import contextlib
import dataclasses
import logging
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator

from tmpl_glance_store import digests
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store import recovery
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.disk_images import formats
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import reader
from tmpl_glance_store.localstore import staging
from tmpl_glance_store.localstore import store as local_store
from tmpl_glance_store.placement import contract as placement
from tmpl_glance_store.remote import file as remote_file
from tmpl_glance_store.remote import templates as remote_templates

LOG = logging.getLogger(__name__)

#: The steps of an upload and of a removal, after each of which a crash leaves
#: something else; the crash tests kill the process at every one.
ADD_STEPS = (
    'staged',
    'hashed',
    'sealed',
    'moved',
    'intended',
    'placed',
    'bound',
)
REMOVE_STEPS = ('unbound', 'withdrawn', 'copy forgotten', 'template forgotten')

_LOCK_WAIT = 60  # seconds; a lock is held while a catalog is written


@dataclasses.dataclass(frozen=True)
class Added:
    """The outcome of an upload: the binding, and the template's facts."""

    image: objects.Image
    template: objects.Template


class Repository:
    """The templates of a cluster, seen from this host.

    :param remote: reads what only other nodes hold
    :param make_policy: builds the placement policy from the cluster's
        locations
    :param placement_name: of that policy, as the operator knows it
    :param write_timeout: seconds without progress before an upload ends
    :param min_copies: nodes that hold a copy before an upload succeeds
    :param on_step: called with the name of each step when it is done
    """

    def __init__(
        self,
        *,
        catalog: catalog_domain.Catalog,
        store: local_store.LocalStore,
        remote: remote_templates.RemoteTemplates,
        make_policy: Callable[[list[objects.Location]], placement.Policy],
        placement_name: str,
        write_timeout: int,
        min_copies: int,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._placement = placement_name
        self._write_timeout = write_timeout
        self._min_copies = min_copies
        self._catalog = catalog
        self._make_policy = make_policy
        self._step = on_step
        self.store = store
        self.remote = remote
        self.recovery = recovery.Recovery(catalog, on_step)
        self._opened: set[str] = set()
        self._known: dict[str, objects.Image] = {}
        self._layout: (
            tuple[list[objects.Location], placement.Policy] | None
        ) = None

    @property
    def catalog(self) -> catalog_domain.Catalog:
        """What the cluster knows."""
        return self._catalog

    def open(self, known: list[objects.Location] | None = None) -> bool:
        """Attach this host's locations, and clean up after crashes.

        May be called again: locations that were refused are tried anew.

        :param known: the cluster's locations, if the caller knows them
        :returns: whether there is a new location
        """
        if known is None:
            known = self._catalog.locations.all()
        self.store.attach(known)
        new = [
            location
            for location in self.store.locations
            if location.record.id not in self._opened
        ]
        for location in new:
            self._register(location, known)
            self.recovery.recover(location)
        if new:
            self._known = {
                image.image_id.lower(): image
                for image in self._catalog.bindings.images()
            }
            self.recovery.forget_deleted()
            self._opened.update(location.record.id for location in new)
        return bool(new)

    def require_writable(self) -> None:
        """Make sure that at least one location can be written.

        :raises WriteDenied: if none can; says why for each
        """
        problems = list(self.store.refused)
        for location in self.store.locations:
            try:
                location.probe()
            except exceptions.NoSpace as exc:
                # A full disk is an error of uploads, not of the set-up.
                LOG.warning('Location %s: %s', location.paths.root, exc)
            except (exceptions.WriteDenied, OSError) as exc:
                problems.append(str(exc))
                continue
            return
        raise exceptions.WriteDenied('; '.join(problems))

    def policy(self) -> placement.Policy:
        """Return the placement policy over the cluster's locations now."""
        return self.policy_of(self._catalog.locations.all())

    def policy_of(self, locations: list[objects.Location]) -> placement.Policy:
        """Return the placement policy over *locations*."""
        if self._layout is None or self._layout[0] != locations:
            self._layout = locations, self._make_policy(locations)
        return self._layout[1]

    # Upload

    def add(
        self,
        image_id: str,
        chunks: Iterable[bytes],
        size: int,
        hashing_algo: str,
        verify: Callable[[bytes], object] | None = None,
    ) -> Added:
        """Store the stream *chunks*, and bind *image_id* to it.

        When it returns, a proven copy is on stable storage. When it raises,
        nothing of it is left.

        :param size: declared size in bytes, 0 if unknown
        :param verify: is given every byte, in order
        :raises Duplicate: if the image is bound already
        :raises Invalid: if the stream is not *size* bytes long
        :raises NoSpace, WriteDenied, Stalled, Unavailable: see there
        :raises UnknownHashingAlgorithm: before anything is read
        """
        self._check_new(image_id)
        digests.new_hasher(hashing_algo)
        self.open()
        with self.store.stage(size) as staged:
            self._step('staged')
            consumers = [staged.write, *([verify] if verify else [])]
            found = digests.ingest(
                digests.checked(chunks, size),
                hashing_algo,
                consumers,
                self._write_timeout,
            )
            self._step('hashed')
            template = _template(
                found, hashing_algo, formats.detect(staged.head(formats.HEAD))
            )
            image = objects.Image(
                image_id, template.digest, secrets.token_hex(16), time.time()
            )
            self._keep(staged, template, found.pieces, image)
        self._step('bound')
        self._require_copies(image)
        self._known[image_id.lower()] = image
        return Added(image, template)

    def _require_copies(self, image: objects.Image) -> None:
        """Wait until enough nodes hold the template, else take it back.

        :raises Unavailable: if they do not within the write timeout
        """
        wanted = self._min_copies
        if wanted == 1:
            return
        try:
            if self._wait_for_copies(image.digest, wanted):
                return
            raise exceptions.Unavailable(
                f'image {image.image_id}: not {wanted} nodes held a copy '
                f'after {self._write_timeout} s '
                f'(tmpl_store_min_copies, tmpl_store_write_timeout); are '
                f'their agents running?'
            )
        except BaseException:
            self.remove(image.image_id, image.digest, image.token)
            raise

    def _wait_for_copies(self, digest: str, wanted: int) -> bool:
        deadline = time.monotonic() + self._write_timeout
        with contextlib.closing(self._catalog.watch()) as watch:
            while len(self._catalog.nodes.with_copy(digest)) < wanted:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                watch.wait(left)
        return True

    def _check_new(self, image_id: str) -> None:
        if not objects.IMAGE_ID.fullmatch(image_id.lower()):
            raise exceptions.Invalid(
                f'image id {image_id!r} must match {objects.IMAGE_ID.pattern}'
            )
        with contextlib.suppress(exceptions.NotFound):
            self._catalog.bindings.image(image_id)
            raise exceptions.Duplicate(f'image {image_id} is stored already')

    def _keep(
        self,
        staged: staging.Staged,
        template: objects.Template,
        pieces: bytes,
        image: objects.Image,
    ) -> None:
        """Bind *image* to a copy that is here, else to the staged one."""
        if self._bind_to_existing(image, template):
            return
        staged.seal(template, pieces)
        self._step('sealed')
        target = self._target(staged, template)
        with self._moved(staged, target, template.digest) as moved:
            self._step('moved')
            while not self._bind_to_existing(image, template):
                if self._place(moved, target, template, image):
                    return

    def _bind_to_existing(
        self, image: objects.Image, template: objects.Template
    ) -> bool:
        """Bind to a copy that this host has already; False if it has none."""
        for location in self.store.locations:
            try:
                lock = location.hold(template.digest, _LOCK_WAIT)
            except exceptions.CorruptCopy:
                self._catalog.copies.forget(
                    template.digest, location.record.id
                )
                continue
            if lock is not None:
                with lock:
                    self._bind(image, template, location)
                return True
        return False

    def _place(
        self,
        staged: staging.Staged,
        target: local.LocalLocation,
        template: objects.Template,
        image: objects.Image,
    ) -> bool:
        """Make the copy visible and bind it; False if another was faster."""
        self._catalog.copies.intend(template.digest, target.record.id)
        self._step('intended')
        try:
            if not staged.place(template.digest):
                return False
            self._step('placed')
            self._bind(image, template, target)
        except BaseException:
            # What cannot be undone now, the next start undoes.
            with contextlib.suppress(
                exceptions.Unavailable, OSError, exceptions.WriteDenied
            ):
                self._unplace(staged, target, template)
            raise
        return True

    def _unplace(
        self,
        staged: staging.Staged,
        target: local.LocalLocation,
        template: objects.Template,
    ) -> None:
        """Undo what a failed upload has done, its lock still held."""
        if staged.placed:
            self.recovery.decide(template, target, promised=False)
        else:
            self._catalog.copies.drop(
                template.digest,
                target.record.id,
                lambda: target.holds(template.digest),
            )

    def _bind(
        self,
        image: objects.Image,
        template: objects.Template,
        location: local.LocalLocation,
    ) -> None:
        try:
            self._catalog.bindings.bind(image, template, location.record.id)
        except BaseException:
            # The commit may have gone through, and only its answer be lost.
            with contextlib.suppress(
                exceptions.NotFound, exceptions.Unavailable
            ):
                self._catalog.bindings.unbind(image)
            raise

    def _target(
        self, staged: staging.Staged, template: objects.Template
    ) -> local.LocalLocation:
        """Return this host's location for a template.

        Its target if the host has one; else the copy stays where it is,
        until the nodes that should have it have fetched it.
        """
        policy = self.policy()
        wanted = policy.targets(
            template.position,
            self.store.usable(template.size, staged.directory),
        )
        for record in wanted:
            location = self.store.get(record.id)
            if location is not None:
                return location
        if wanted:
            return self.store.at(staged.paths.root)
        if not policy.targets(template.position):
            raise exceptions.WriteDenied(
                f'placement {self._placement!r} finds no active '
                f'location in the cluster; hash_range needs one of tier ssd '
                '(tmpl_store_locations, tmpl_store_placement)'
            )
        raise self.store.nowhere(template.size)

    @contextlib.contextmanager
    def _moved(
        self, staged: staging.Staged, target: local.LocalLocation, digest: str
    ) -> Iterator[staging.Staged]:
        """Give *staged* as it is in the location *target*."""
        if staged.paths.root == target.paths.root or staged.move_by_rename(
            target.paths
        ):
            yield staged
            return
        with target.stage() as moved:
            moved.copy_from(staged.directory, digest)
            yield moved

    # Download

    def read(
        self,
        image_id: str,
        digest: str,
        token: str,
        offset: int,
        length: int | None,
        chunk_size: int,
    ) -> reader.ChunkedFile | remote_file.RemoteFile:
        """Return the bytes of an image from *offset* on, closable.

        Its ``size`` is that of the whole image. A copy on this host is read
        as it is; the bytes of other hosts are proved first.

        :param length: bytes to give, None for all that follow
        :param chunk_size: bytes to give at a time, at most
        :raises NotFound: if the catalog does not know exactly this binding:
            who does not know the token learns nothing
        :raises Unavailable: if no copy can be read now
        """
        self._bound(image_id, digest, token)
        for attempt in (self.store.find, self._find_again):
            location = attempt(digest)
            if location is not None:
                with contextlib.suppress(OSError):  # it has just gone
                    return reader.ChunkedFile(
                        location.paths.image(digest),
                        offset,
                        chunk_size,
                        length,
                    )
        return self._read_remote(image_id, digest, offset, length, chunk_size)

    def _find_again(self, digest: str) -> local.LocalLocation | None:
        self.open()  # a disk may have been mounted meanwhile
        return self.store.find(digest)

    def _read_remote(
        self,
        image_id: str,
        digest: str,
        offset: int,
        length: int | None,
        chunk_size: int,
    ) -> remote_file.RemoteFile:
        record = self._catalog.bindings.template(digest)
        holders = self._catalog.nodes.holders(digest)
        if record is None or not holders:
            raise exceptions.Unavailable(
                '; '.join(
                    (
                        f'no copy of image {image_id} can be read now',
                        *self.store.problems(),
                    )
                )
            )
        random.shuffle(holders)
        return self.remote.open(
            record.template,
            [holder.api for holder in holders],
            offset,
            length,
            chunk_size,
        )

    def size(self, image_id: str, digest: str, token: str) -> int:
        """Return the size of an image in bytes.

        :raises NotFound: as :meth:`find` does
        """
        self._bound(image_id, digest, token)
        location = self.store.find(digest)
        if location is not None:
            return location.size(digest)
        record = self._catalog.bindings.template(digest)
        if record is None:
            raise exceptions.Unavailable(
                f'the catalog has lost template {digest}'
            )
        return record.template.size

    def _bound(self, image_id: str, digest: str, token: str) -> objects.Image:
        try:
            image = self._catalog.bindings.image(image_id)
            self._known[image_id] = image
        except exceptions.NotFound:
            self._known.pop(image_id, None)
            raise
        except exceptions.Unavailable:
            # Fails open, for who knows the token: without the catalog, what
            # it said last counts, so that local reads go on.
            if image_id not in self._known:
                raise
            image = self._known[image_id]
        if not image.is_bound(digest, token):
            raise exceptions.NotFound(f'image {image_id} is not stored here')
        return image

    # Removal

    def remove(self, image_id: str, digest: str, token: str) -> None:
        """Unbind an image; the last one takes the template along.

        :raises NotFound: as :meth:`find` does
        :raises WriteDenied: if the copy cannot be removed; nothing changed
        """
        image = self._bound(image_id, digest, token)
        holders = [
            location
            for location in self.store.locations
            if location.holds(digest)
        ]
        for location in holders:
            with contextlib.suppress(exceptions.NoSpace):
                location.probe()
        last = self._catalog.bindings.unbind(image)
        self._step('unbound')
        if last:
            for location in holders:
                self._collect(image, location)
            self._catalog.bindings.forget(digest)
            self._step('template forgotten')

    def _collect(
        self, image: objects.Image, location: local.LocalLocation
    ) -> None:
        record = self._catalog.bindings.template(image.digest)
        try:
            self.recovery.collect(image.digest, location)
        except exceptions.WriteDenied:
            if record is not None:  # nothing is removed: bind it again
                self._catalog.bindings.bind(
                    image, record.template, location.record.id
                )
            raise

    # Start

    def _register(
        self, location: local.LocalLocation, known: list[objects.Location]
    ) -> None:
        """Record a location; another one that was at its path is lost."""
        self._catalog.locations.put(location.record)
        for each in known:
            if (
                each.node == location.record.node
                and each.path == location.record.path
                and each.id != location.record.id
                and each.state != objects.LOST
            ):
                LOG.warning(
                    'Location %s at %s was replaced by %s',
                    each.id,
                    each.path,
                    location.record.id,
                )
                self._catalog.locations.put(
                    dataclasses.replace(each, state=objects.LOST)
                )
                for digest in self._catalog.copies.in_location(each.id):
                    self._catalog.copies.forget(digest, each.id)


def _template(
    found: digests.Digests, hashing_algo: str, image_format: str | None
) -> objects.Template:
    return objects.Template(
        digest=found.digest,
        size=found.size,
        position=found.position,
        checksum=found.checksum,
        hashing_algo=hashing_algo,
        multihash=found.multihash,
        piece_size=found.piece_size,
        created_at=time.time(),
        format=image_format,
    )
