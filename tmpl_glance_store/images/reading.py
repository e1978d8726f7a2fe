# SPDX-License-Identifier: Apache-2.0
"""Images are read: from a disk of this host, else from another node."""

import contextlib
import errno
import logging
import random
from collections.abc import Callable, Iterator

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.images import access as image_access
from tmpl_glance_store.images import url as image_url
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import reader
from tmpl_glance_store.localstore import store as local_store
from tmpl_glance_store.remote import file as remote_file
from tmpl_glance_store.remote import templates as remote_templates

LOG = logging.getLogger(__name__)


class ImageFile:
    """The bytes of a copy on this host, in chunks; closes itself.

    From where its disk fails, those of other nodes follow. ``size`` is that
    of the whole image, in bytes.

    :param file: of the local copy
    :param elsewhere: opens the copies of other nodes, that many bytes
        further; raises Unavailable if there is none
    :param on_bad: called when others gave what the disk could not (``EIO``)
    """

    def __init__(
        self,
        file: reader.ChunkedFile,
        elsewhere: Callable[[int], remote_file.RemoteFile],
        on_bad: Callable[[], None],
    ) -> None:
        self._file: reader.ChunkedFile | remote_file.RemoteFile = file
        self.size = file.size
        self._elsewhere = elsewhere
        self._on_bad = on_bad

    def __iter__(self) -> Iterator[bytes]:
        given = 0
        try:
            for chunk in self._file:
                given += len(chunk)
                yield chunk
        except OSError as exc:
            LOG.error('A copy cannot be read after %d bytes: %s', given, exc)
            self._file = self._elsewhere(given)
            yield from self._file
            # Not before: it may be the last that holds any of its bytes.
            if exc.errno == errno.EIO:
                self._on_bad()

    def close(self) -> None:
        """Close what is open; more calls do nothing."""
        self._file.close()


class Reading:
    """Gives the bytes of images.

    :param keeper: takes a copy away that its disk cannot read
    :param remote: reads what only other nodes hold
    """

    def __init__(
        self,
        *,
        catalog: catalog_domain.Catalog,
        store: local_store.LocalStore,
        keeper: keeping.Keeper,
        access: image_access.Access,
        remote: remote_templates.RemoteTemplates,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._keeper = keeper
        self._access = access
        self._remote = remote

    def read(
        self,
        url: image_url.ImageUrl,
        offset: int,
        length: int | None,
        chunk_size: int,
    ) -> ImageFile | remote_file.RemoteFile:
        """Return the bytes of an image from *offset* on, closable.

        Its ``size`` is that of the whole image. A copy on this host is read
        as it is; the bytes of other hosts are proved first.

        :param length: bytes to give, None for all that follow
        :param chunk_size: bytes to give at a time, at most
        :raises NotFound: if there is no such image
        :raises Unavailable: if no copy can be read now
        """
        self._access.find(url)
        for attempt in (self._store.find, self._find_again):
            location = attempt(url.digest)
            if location is not None:
                with contextlib.suppress(OSError):  # it has just gone
                    return self._read_local(
                        url, location, offset, length, chunk_size
                    )
        return self._read_remote(url, offset, length, chunk_size)

    def _read_local(
        self,
        url: image_url.ImageUrl,
        location: local.LocalLocation,
        offset: int,
        length: int | None,
        chunk_size: int,
    ) -> ImageFile:
        def elsewhere(given: int) -> remote_file.RemoteFile:
            left = None if length is None else length - given
            return self._read_remote(url, offset + given, left, chunk_size)

        def set_aside() -> None:
            with contextlib.suppress(OSError, exceptions.TmplError):
                self._keeper.condemn(url.digest, location)

        path = location.paths.image(url.digest)
        return ImageFile(
            reader.ChunkedFile(path, offset, chunk_size, length),
            elsewhere,
            set_aside,
        )

    def _find_again(self, digest: str) -> local.LocalLocation | None:
        self._access.open()  # a disk may have been mounted meanwhile
        return self._store.find(digest)

    def _read_remote(
        self,
        url: image_url.ImageUrl,
        offset: int,
        length: int | None,
        chunk_size: int,
    ) -> remote_file.RemoteFile:
        record = self._catalog.bindings.template(url.digest)
        holders = self._catalog.nodes.holders(url.digest)
        if record is None or not holders:
            raise exceptions.Unavailable(
                '; '.join(
                    (
                        f'no copy of image {url.image_id} can be read now',
                        *self._store.problems(),
                    )
                )
            )
        random.shuffle(holders)
        return self._remote.open(
            record.template,
            [holder.api for holder in holders],
            offset,
            length,
            chunk_size,
        )

    def size(self, url: image_url.ImageUrl) -> int:
        """Return the size of an image in bytes.

        :raises NotFound: if there is no such image
        :raises Unavailable: if nobody can tell now
        """
        self._access.find(url)
        location = self._store.find(url.digest)
        if location is not None:
            return location.size(url.digest)
        record = self._catalog.bindings.template(url.digest)
        if record is None:
            raise exceptions.Unavailable(
                f'the catalog has lost template {url.digest}'
            )
        return record.template.size
