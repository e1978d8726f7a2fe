# SPDX-License-Identifier: Apache-2.0
"""The publisher: templates of this node appear in Nova's image cache.

:class:`ImageCache` is the way in; only ``qemu_img`` runs qemu-img.
"""

from tmpl_glance_store.imagecache.cache import ImageCache
from tmpl_glance_store.imagecache.cache import base_name
from tmpl_glance_store.imagecache.preparation import Held
from tmpl_glance_store.imagecache.states import PROBLEMS
from tmpl_glance_store.imagecache.states import STATES
from tmpl_glance_store.imagecache.states import State

__all__ = ('PROBLEMS', 'STATES', 'Held', 'ImageCache', 'State', 'base_name')
