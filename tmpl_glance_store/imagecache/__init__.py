# SPDX-License-Identifier: Apache-2.0
"""Nova's image cache on a compute node: templates appear there as base files.

:class:`ImageCache` is the way in; a pass over it returns an :class:`Outcome`.
"""

from tmpl_glance_store.imagecache.cache import ImageCache
from tmpl_glance_store.imagecache.facts import base_name
from tmpl_glance_store.imagecache.outcome import Outcome
from tmpl_glance_store.imagecache.prepared import Held
from tmpl_glance_store.imagecache.states import PROBLEMS
from tmpl_glance_store.imagecache.states import STATES
from tmpl_glance_store.imagecache.states import BaseFile
from tmpl_glance_store.imagecache.states import State

__all__ = (
    'PROBLEMS',
    'STATES',
    'BaseFile',
    'Held',
    'ImageCache',
    'Outcome',
    'State',
    'base_name',
)
