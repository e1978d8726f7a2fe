# SPDX-License-Identifier: Apache-2.0
"""All that Glance asks of this store, in one place."""

from tmpl_glance_store.images import access as image_access
from tmpl_glance_store.images import reading as image_reading
from tmpl_glance_store.images import removal as image_removal
from tmpl_glance_store.images import upload as image_upload
from tmpl_glance_store.localstore import store as local_store


class Images:
    """The images of a cluster, seen from this host.

    Its methods are those of its parts: see ``upload``, ``reading``,
    ``removal``, ``access`` and ``localstore``.
    """

    def __init__(
        self,
        *,
        access: image_access.Access,
        upload: image_upload.Upload,
        reading: image_reading.Reading,
        removal: image_removal.Removal,
        store: local_store.LocalStore,
    ) -> None:
        self.open = access.open
        self.require_writable = store.require_writable
        self.add = upload.add
        self.read = reading.read
        self.size = reading.size
        self.remove = removal.remove
