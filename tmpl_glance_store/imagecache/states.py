# SPDX-License-Identifier: Apache-2.0
"""What may become of an image in Nova's image cache."""

import dataclasses
from typing import Self

from tmpl_glance_store import objects
from tmpl_glance_store import schema

#: What becomes of an image on this node. ``foreign``: Nova has made the base
#: file itself. ``waiting``: Nova holds its lock. ``failed`` is tried again,
#: ``refused`` is not, unless something changes. ``damaged``: the base file is
#: not what it was any more. ``stale``: it is what the image was before.
#: ``left``: the copy is not here any more, or not even the image.
(
    ARRIVING,
    PREPARING,
    WAITING,
    PUBLISHED,
    FOREIGN,
    FAILED,
    REFUSED,
    DAMAGED,
    STALE,
    LEFT,
) = STATES = (
    'arriving',
    'preparing',
    'waiting',
    'published',
    'foreign',
    'failed',
    'refused',
    'damaged',
    'stale',
    'left',
)

#: The states in which an operator has something to do.
PROBLEMS = FAILED, REFUSED, DAMAGED, STALE


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One of :data:`STATES`, and why."""

    state: str
    reason: str = ''


@dataclasses.dataclass(frozen=True)
class State:
    """What became of an image, and why."""

    image_id: str
    digest: str
    state: str
    reason: str = ''

    @classmethod
    def of(cls, image_id: str, digest: str, verdict: Verdict) -> Self:
        """Return what a verdict means for an image."""
        return cls(image_id, digest, verdict.state, verdict.reason)

    @property
    def verdict(self) -> Verdict:
        """What became of it, whichever image it is."""
        return Verdict(self.state, self.reason)


@dataclasses.dataclass(frozen=True)
class BaseFile:
    """The base file of an image, as an operator sees it.

    ``mode`` is the way in which we made it, None if we did not;
    ``boots_wait`` whether boots from it are kept waiting now, ``instances``
    the names of those that sit on it.
    """

    image: str = schema.field(schema.text(objects.SPELLED_ID))
    digest: str = schema.field(schema.text(objects.DIGEST))
    state: str = schema.field(schema.line(64))
    reason: str = schema.field(schema.prose())
    base_file: str = schema.field(schema.prose())
    mode: str | None = schema.field(schema.optional(schema.line(64)))
    converted: bool = schema.field(schema.flag)
    boots_wait: bool = schema.field(schema.flag)
    instances: tuple[str, ...] = schema.field(
        schema.several(schema.prose(256), 10_000)
    )
