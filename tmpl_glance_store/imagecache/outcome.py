# SPDX-License-Identifier: Apache-2.0
"""What a pass over the image cache has come to."""

import dataclasses
from collections.abc import Iterable, Mapping, Set
from typing import Self

from tmpl_glance_store.imagecache.states import FAILED
from tmpl_glance_store.imagecache.states import PUBLISHED
from tmpl_glance_store.imagecache.states import REFUSED
from tmpl_glance_store.imagecache.states import WAITING
from tmpl_glance_store.imagecache.states import State

_BUSY = 2  # seconds after which Nova's lock is tried again
_RECHECK = 60  # seconds between two attempts at what has failed


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the images of a node in one pass.

    ``states`` has each image by its id; ``published`` the images whose base
    files are ours, and ``refusals`` why a template is not published, both by
    digest. ``spare`` are the templates whose originals no image needs here:
    all their base files are conversions that do not depend on the copy.
    ``next_change`` are the seconds after the pass in which time alone changes
    something, None if it does not.
    """

    states: Mapping[str, State] = dataclasses.field(default_factory=dict)
    published: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )
    refusals: Mapping[str, str] = dataclasses.field(default_factory=dict)
    spare: frozenset[str] = frozenset()
    next_change: float | None = None

    @classmethod
    def of(
        cls,
        states: Mapping[str, State],
        converted: Set[str] = frozenset(),
        retry: float | None = None,
    ) -> Self:
        """Return the outcome of a pass with these states, by image id.

        :param converted: the images whose base files need no original; empty
            where originals are kept
        :param retry: seconds until a preparation is tried again
        """
        images = [each for _, each in sorted(states.items())]
        return cls(
            states=states,
            published=_published(images),
            refusals={
                each.digest: each.reason
                for each in images
                if each.state == REFUSED
            },
            spare=_spare(images, converted),
            next_change=_next_change({each.state for each in images}, retry),
        )


def _published(images: Iterable[State]) -> dict[str, tuple[str, ...]]:
    published: dict[str, tuple[str, ...]] = {}
    for each in images:
        if each.state == PUBLISHED:
            published[each.digest] = (
                *published.get(each.digest, ()),
                each.image_id,
            )
    return published


def _spare(images: Iterable[State], converted: Set[str]) -> frozenset[str]:
    spare, needed = set(), set()
    for each in images:
        if each.state == PUBLISHED and each.image_id in converted:
            spare.add(each.digest)
        else:
            needed.add(each.digest)
    return frozenset(spare - needed)


def _next_change(states: Set[str], retry: float | None) -> float | None:
    times = [
        retry,
        _BUSY if WAITING in states else None,
        _RECHECK if FAILED in states else None,
    ]
    return min((each for each in times if each is not None), default=None)
