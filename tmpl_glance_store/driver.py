# SPDX-License-Identifier: Apache-2.0
"""The glance_store contract: thin, above everything else.

Source: ``glance_store/driver.py`` and ``glance_store/_drivers/filesystem.py``
of glance_store 5.7 for the contract and the errors that Glance understands.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import glance_store.driver
import glance_store.location
from glance_store import backend
from glance_store import capabilities
from glance_store import exceptions as glance_exceptions
from glance_store.common import utils as glance_utils
from oslo_config import cfg
from oslo_log import log as logging

from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store.images import images
from tmpl_glance_store.images import url as image_url
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store as opts

LOG = logging.getLogger(__name__)

SCHEME = image_url.SCHEME

_SHARED = glance_store.driver.SHARED_CONF_GROUP

# Larger buffers come fresh from the kernel each time, at half the speed.
_MAX_READ = 256 << 10


def _allow_as_default_store() -> None:
    """Make ``tmpl`` a valid value of ``[glance_store] default_store``.

    glance_store lists the schemes of its own drivers only. It loads this
    module before it registers the option, so that extending the list here
    makes the single-store configuration work.
    """
    for option in backend._STORE_OPTS:
        choices = getattr(option.type, 'choices', None)
        if option.name == 'default_store' and SCHEME not in choices:
            if isinstance(choices, dict):
                choices[SCHEME] = None
            else:
                option.type.choices = [*choices, SCHEME]


_allow_as_default_store()


@contextlib.contextmanager
def _glance_errors(image: str) -> Iterator[None]:
    """Translate our errors into those that Glance maps to HTTP answers."""
    try:
        yield
    except exceptions.NotFound as exc:
        raise glance_exceptions.NotFound(image=image) from exc
    except exceptions.Duplicate as exc:
        raise glance_exceptions.Duplicate(image=image) from exc
    except exceptions.Invalid as exc:
        raise glance_exceptions.Invalid(message=str(exc)) from exc
    except exceptions.UnknownHashingAlgorithm as exc:
        raise glance_exceptions.UnknownHashingAlgo(algo=str(exc)) from exc
    except exceptions.NoSpace as exc:
        LOG.error('Image %s: %s', image, exc)
        raise glance_exceptions.StorageFull(message=str(exc)) from exc
    except (exceptions.WriteDenied, exceptions.LocationRefused) as exc:
        LOG.error('Image %s: %s', image, exc)
        raise glance_exceptions.StorageWriteDenied(message=str(exc)) from exc
    except exceptions.Stalled as exc:
        LOG.error('Image %s: %s', image, exc)
        raise glance_exceptions.TimeoutError(message=str(exc)) from exc
    except exceptions.TmplError as exc:
        LOG.error('Image %s: %s', image, exc)
        raise glance_exceptions.RemoteServiceUnavailable(
            message=str(exc)
        ) from exc


class StoreLocation(glance_store.location.StoreLocation):
    """What glance_store wraps around an :class:`image_url.ImageUrl`."""

    url: image_url.ImageUrl

    @property
    def image_id(self) -> str:
        """The id of the image, by which Glance and its logs know it."""
        return self.url.image_id

    def process_specs(self) -> None:
        """Take the URL from the store's own specs."""
        self.url = self.specs['url']

    def get_uri(self) -> str:
        """Return the URL; it must not be shown to users."""
        return str(self.url)

    def parse_uri(self, uri: str) -> None:
        """Take the URL *uri*.

        :raises glance_store.exceptions.BadStoreUri: if it is not strictly
            one of ours: users can register URLs
        """
        try:
            self.url = image_url.ImageUrl.parse(uri)
        except ValueError as exc:
            raise glance_exceptions.BadStoreUri(message=str(exc)) from exc


class Store(glance_store.driver.Store):
    """Templates on the disks next to the VMs."""

    _CAPABILITIES = (
        capabilities.BitMasks.READ_RANDOM
        | capabilities.BitMasks.WRITE_ACCESS
        | capabilities.BitMasks.DRIVER_REUSABLE
    )
    OPTIONS = opts.STORE_OPTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._configured: opts.Options | None = None
        self._images: images.Images | None = None
        self._cluster = ''

    def get_schemes(self) -> tuple[str, ...]:
        """Return the schemes that this store serves."""
        return (SCHEME,)

    def configure_add(self) -> None:
        """Build the store from its options, and open its locations.

        :raises glance_store.exceptions.BadStoreConfiguration: if an option
            makes no sense, or no location can be written; in the latter
            case images can still be read
        """
        name = self.backend_group or SCHEME
        try:
            options = opts.read(self._group, self._default_cluster())
            self._cluster = options.cluster
            self._url_prefix = f'{SCHEME}://{options.cluster}/'
            self.READ_CHUNKSIZE = min(options.uploads.chunk_size, _MAX_READ)
            self.WRITE_CHUNKSIZE = options.uploads.chunk_size
            self._configured = options
            self._images = None
            LOG.info(
                'Store %s is of cluster %s, on node %s, with %s and the '
                'catalog %s',
                name,
                options.cluster,
                options.locations.node,
                ', '.join(
                    f'{each.tier}:{each.path}'
                    for each in options.locations.specs
                ),
                options.catalog.url,
            )
            self._ready().open()
            self._ready().require_writable()
        except exceptions.Unavailable as exc:
            # Not a matter of the configuration: every call tries again.
            LOG.error('Store %s: %s', name, exc)
        except exceptions.TmplError as exc:
            LOG.error('Store %s: %s', name, exc)
            raise glance_exceptions.BadStoreConfiguration(
                store_name=name, reason=str(exc)
            ) from exc

    def is_capable(self, *requested: int) -> bool:
        """Tell whether the store can do this now.

        A store that could not be written when Glance started looks again:
        its disks may have been mounted meanwhile.
        """
        if super().is_capable(*requested):
            return True
        if capabilities.BitMasks.WRITE_ACCESS in requested:
            with contextlib.suppress(exceptions.TmplError):
                self._ready().open()
                self._ready().require_writable()
                self.set_capabilities(capabilities.BitMasks.WRITE_ACCESS)
        return super().is_capable(*requested)

    @capabilities.check
    def get(
        self,
        location: Any,
        offset: int = 0,
        chunk_size: int | None = None,
        context: Any = None,
    ) -> tuple[Iterable[bytes], int]:
        """Return (iterator over the bytes, number of bytes).

        :param offset: first byte to read
        :param chunk_size: number of bytes to read, None for all that follow
        :raises glance_store.exceptions.NotFound: if there is no such image
        :raises glance_store.exceptions.RemoteServiceUnavailable: if its
            bytes cannot be read now
        """
        with _glance_errors(location.store_location.image_id):
            data = self._ready().read(
                location.store_location.url,
                offset,
                chunk_size,
                self.READ_CHUNKSIZE,
            )
            return data, chunk_size or data.size

    def get_size(self, location: Any, context: Any = None) -> int:
        """Return the size of the image in bytes; raises like :meth:`get`."""
        with _glance_errors(location.store_location.image_id):
            return self._ready().size(location.store_location.url)

    @glance_store.driver.back_compat_add
    @capabilities.check
    def add(
        self,
        image_id: str,
        image_file: Any,
        image_size: int,
        hashing_algo: str,
        context: Any = None,
        verifier: Any = None,
    ) -> tuple[str, int, str, str, dict[str, str]]:
        """Store an image; see ``glance_store.driver.Store.add``.

        :param image_file: a file-like object, or an iterable of bytes
        :param image_size: in bytes, 0 if unknown
        :returns: (URL, bytes written, md5, multihash, location metadata)
        """
        chunks = glance_utils.chunkreadable(image_file, self.WRITE_CHUNKSIZE)
        with _glance_errors(image_id):
            added = self._ready().add(
                image_id,
                chunks,
                image_size or 0,
                hashing_algo,
                verifier.update if verifier else None,
            )
        template = added.template
        metadata = {'store': self.backend_group} if self.backend_group else {}
        return (
            str(added.url),
            template.size,
            template.checksum,
            template.multihash,
            metadata,
        )

    @capabilities.check
    def delete(self, location: Any, context: Any = None) -> None:
        """Unbind the image; its bytes go with the last image bound to them.

        :raises glance_store.exceptions.NotFound: if there is no such image,
            or the URL was not made by this store: nothing is deleted then
        :raises glance_store.exceptions.Forbidden: if the disk does not let
            it be removed
        """
        image_id = location.store_location.image_id
        try:
            with _glance_errors(image_id):
                self._ready().remove(location.store_location.url)
        except glance_exceptions.StorageWriteDenied as exc:
            raise glance_exceptions.Forbidden(
                message=f'image {image_id} cannot be deleted: {exc}'
            ) from exc

    def _ready(self) -> images.Images:
        """Return the images, built now if it could not be before."""
        if self._images is None:
            if self._configured is None:
                raise exceptions.Unavailable(
                    'the store is not configured; see the log of its start'
                )
            self._images = factory.Parts(self._configured).images
        return self._images

    def _group(self, options: Sequence[cfg.Opt]) -> Any:
        """Register *options* in the group of the backend, and return it."""
        if not self.backend_group:
            return plugins.group_of(self.conf, 'glance_store')(options)
        # What the backend does not set may stand in the other group.
        for name in (self.backend_group, _SHARED):
            self.conf.register_opts(options, group=name)
        return glance_store.driver.BackendGroupConfiguration(
            options, self.backend_group, conf=self.conf
        )

    def _default_cluster(self) -> str:
        return self.backend_group or opts.DEFAULT_CLUSTER
