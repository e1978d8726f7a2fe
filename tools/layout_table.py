# SPDX-License-Identifier: Apache-2.0
"""The hash ranges of a cluster as a table that fits on a screen."""

import collections
from collections.abc import Iterable, Iterator

from tmpl_glance_store import objects

_BAR = 32

Range = tuple[int, int, objects.Location]


def owner_of(position: int, ranges: Iterable[Range]) -> Range:
    """Return the range that holds *position*.

    :raises LookupError: if no range does
    """
    for first, last, location in ranges:
        if first <= position <= last:
            return first, last, location
    raise LookupError(f'no hash range holds {position:#018x}')


def render(ranges: Iterable[Range], position: int) -> Iterator[str]:
    """Yield the lines of the table, with the owner of *position* marked.

    A location owns hundreds of ranges: they are summed up, but for the one
    that holds the position.
    """
    ranges = list(ranges)
    owner = owner_of(position, ranges)
    points: collections.Counter[str] = collections.Counter()
    for first, last, location in ranges:
        points[location.path] += last - first + 1
    counts = collections.Counter(each.path for _, _, each in ranges)
    locations = {each.path: each for _, _, each in ranges}
    yield f'   {"location":<9}{"weight":>9}{"share":>8}{"ranges":>8}'
    for path, location in sorted(locations.items()):
        share = points[path] / objects.SPACE
        arrow = '->' if location is owner[2] else '  '
        yield (
            f'{arrow} {_name(path):<9}{location.weight:>5.0f} GiB'
            f'{share:>8.1%}{counts[path]:>8}  '
            f'{"#" * round(share * _BAR)}'
        )
    yield (
        f'-> {_name(owner[2].path)} owns {owner[0]:016x} to '
        f'{owner[1]:016x}, which holds it'
    )


def _name(path: str) -> str:
    return path.rpartition('/')[2]
