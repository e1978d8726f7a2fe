# SPDX-License-Identifier: Apache-2.0
"""Errors of this package; ``driver.py`` maps them to glance_store's.

Each class answers one question of the caller: is it gone for good, may it be
tried again, or must somebody change something first?
"""


class TmplError(Exception):
    """Base of every error raised by this package."""


class BadConfiguration(TmplError):
    """An option makes no sense, or contradicts what is on disk."""


class Invalid(TmplError):
    """The caller's data are not what was declared."""


class UnknownHashingAlgorithm(TmplError):
    """hashlib does not offer the requested multihash algorithm."""


class NotFound(TmplError):
    """The catalog says that this does not exist: final."""


class Duplicate(TmplError):
    """The image id is bound already."""


class NoSpace(TmplError):
    """No location has room (full, under its reserve, quota, file limit)."""


class WriteDenied(TmplError):
    """No location may be written: read-only, forbidden or not mounted."""


class Unavailable(TmplError):
    """Unreachable, which is not absent: the same call may work later."""


class Forbidden(Unavailable):
    """The catalog does not let this process do that: its user may not."""


class Stalled(Unavailable):
    """A disk made no progress for ``tmpl_store_write_timeout`` seconds."""


class CorruptCopy(TmplError):
    """A copy on disk is not what its digest says."""


class LocationRefused(TmplError):
    """A location may not be used: foreign, unmounted or unreadable."""
