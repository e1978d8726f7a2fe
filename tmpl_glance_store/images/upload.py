# SPDX-License-Identifier: Apache-2.0
"""Images come: written, proved, placed and bound, or nothing of it is left."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterable

from tmpl_glance_store import digests
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.disk_images import formats
from tmpl_glance_store.images import access as image_access
from tmpl_glance_store.images import removal as image_removal
from tmpl_glance_store.images import target as image_target
from tmpl_glance_store.images import url as image_url
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging
from tmpl_glance_store.localstore import store as local_store

#: The steps of an upload, after each of which a crash leaves something else;
#: the crash tests kill the process at every one.
ADD_STEPS = (
    'staged',
    'hashed',
    'sealed',
    'moved',
    'intended',
    'placed',
    'bound',
)


@dataclasses.dataclass(frozen=True)
class Added:
    """The outcome of an upload: where the image is, and what it is."""

    url: image_url.ImageUrl
    template: objects.Template


class Upload:
    """Stores the images that Glance hands over.

    :param cluster: its name
    :param removal: takes an image back
    :param min_copies: nodes that must hold a copy before an upload succeeds
    :param write_timeout: seconds without any progress, of the disk or of the
        other nodes, after which it is given up
    :param on_step: called with the name of each step when it is done
    """

    def __init__(
        self,
        *,
        cluster: str,
        catalog: catalog_domain.Catalog,
        store: local_store.LocalStore,
        keeper: keeping.Keeper,
        access: image_access.Access,
        target: image_target.Target,
        removal: image_removal.Removal,
        min_copies: int,
        write_timeout: float,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._cluster = cluster
        self._catalog = catalog
        self._store = store
        self._keeper = keeper
        self._access = access
        self._target = target
        self._removal = removal
        self._min_copies = min_copies
        self._write_timeout = write_timeout
        self._step = on_step

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
        :raises Duplicate: if the image is bound to another content
        :raises Invalid: if the stream is not *size* bytes long
        :raises NoSpace, WriteDenied, Stalled, Unavailable: see there
        :raises UnknownHashingAlgorithm: before anything is read
        """
        self._check_id(image_id)
        digests.new_hasher(hashing_algo)
        self._access.open()
        seed = self._catalog.history.begin().seed
        with self._store.stage(size) as staged:
            self._step('staged')
            found = digests.ingest(
                digests.checked(chunks, size),
                hashing_algo,
                [staged.write, *([verify] if verify else [])],
                self._write_timeout,
                seed,
            )
            self._step('hashed')
            template = _template(
                found, hashing_algo, formats.detect(staged.head(formats.HEAD))
            )
            token = objects.new_token()
            image = objects.Image(
                image_id,
                template.digest,
                objects.hash_token(token),
                time.time(),
            )
            self._keep(staged, template, found.pieces, image)
        self._step('bound')
        url = image_url.ImageUrl.of(self._cluster, image, token)
        self._require_copies(url)
        self._access.remember(image)
        return Added(url, template)

    def _check_id(self, image_id: str) -> None:
        """Refuse what cannot be an image's id, or is one spelled otherwise.

        An image that is bound may come again, with the same content: only the
        whole stream tells.
        """
        if not objects.IMAGE_ID.fullmatch(image_id.lower()):
            raise exceptions.Invalid(
                f'image id {image_id!r} must match {objects.IMAGE_ID.pattern}'
            )
        with contextlib.suppress(exceptions.NotFound):
            bound = self._catalog.bindings.image(image_id).image_id
            if bound != image_id:
                raise exceptions.Duplicate(
                    f'image {bound} is stored already, whose id differs from '
                    f'{image_id} in case only'
                )

    def _keep(
        self,
        staged: staging.Staged,
        template: objects.Template,
        pieces: bytes,
        image: objects.Image,
    ) -> None:
        """Bind *image* to a copy that is here, else to the staged one."""
        bind = functools.partial(self._bind, image, template)
        if self._keeper.bind_existing(template, bind):
            return
        staged.seal(template, pieces)
        self._step('sealed')
        target = self._target.choose(staged, template)
        with target.take(staged, template.digest) as moved:
            self._step('moved')
            while not self._keeper.bind_existing(template, bind):
                if self._keeper.place(moved, target, template, bind):
                    return

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

    # Copies on other nodes

    def _require_copies(self, url: image_url.ImageUrl) -> None:
        """Wait until enough nodes hold the template, else take it back.

        :raises Unavailable: if they do not within the write timeout
        """
        if self._min_copies == 1:
            return
        try:
            if self._wait_for_copies(url.digest):
                return
            raise exceptions.Unavailable(
                f'image {url.image_id}: not {self._min_copies} nodes held a '
                f'copy after {self._write_timeout} s (tmpl_store_min_copies, '
                f'tmpl_store_write_timeout); are their agents running?'
            )
        except BaseException:
            self._removal.remove(url)
            raise

    def _wait_for_copies(self, digest: str) -> bool:
        deadline = time.monotonic() + self._write_timeout
        with contextlib.closing(self._catalog.watch()) as watch:
            while (
                len(self._catalog.nodes.with_copy(digest)) < self._min_copies
            ):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                watch.wait(left)
        return True


def _template(
    found: digests.Digests, hashing_algo: str, image_format: str | None
) -> objects.Template:
    return objects.Template(
        digest=found.digest,
        root=found.root,
        size=found.size,
        position=found.position,
        checksum=found.checksum,
        hashing_algo=hashing_algo,
        multihash=found.multihash,
        piece_size=found.piece_size,
        created_at=time.time(),
        format=image_format,
    )
