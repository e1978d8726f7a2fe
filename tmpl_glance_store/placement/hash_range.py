# SPDX-License-Identifier: Apache-2.0
"""S1 of the patent: the SSD whose hash range holds the template's hash.

A location has tokens in the 64-bit hash space, at XXH3-64 of its id seeded
with the token's number. A point belongs to the location for which the distance
to the nearest token, divided by the weight, is the least. As distances to
random points are exponentially distributed, and the least of exponentials with
rates ``w`` is the i-th with probability ``w[i] / sum(w)``, the shares are
proportional to the weights.

Nothing in this depends on the other locations, so that a new one takes exactly
what it should have, and no space moves between the others.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import xxhash

from tmpl_glance_store import objects
from tmpl_glance_store.placement import contract

#: Tokens of a location. A share then deviates from the mean by 4.4 %
#: (standard deviation), so that 25 % is beyond five of these.
TOKENS = 256

_BUCKET_BITS = 10
_NO_WEIGHT = 1e-9
# More than 64 bits lose in a float.
_ROUNDING = 1 << 14
_SLACK = 1 + 2**-48


class HashRange(contract.Policy):
    """Each active SSD location owns hash ranges of the 64-bit space."""

    tiers: tuple[str, ...] = (objects.SSD,)

    def __init__(
        self, locations: Sequence[objects.Location], copies: int
    ) -> None:
        self._locations = contract.candidates(locations, *self.tiers)
        # Without any weight they share evenly, beside others get nothing.
        self._weights = [
            max(each.weight, _NO_WEIGHT) for each in self._locations
        ]
        self._heaviest = max(self._weights, default=0.0)
        self._copies = min(
            copies, len({each.node for each in self._locations})
        )
        self._bits = len(self._locations).bit_length()
        # One int a token, the location's index in its low bits: a plain list
        # of ints sorts and bisects fastest.
        self._tokens = _sorted(self._draw())

    def targets(
        self, position: int, usable: contract.Usable = contract.anywhere
    ) -> list[objects.Location]:
        """See the contract: the owner, then who would own without it."""
        found: list[tuple[float, str, objects.Location]] = []
        nodes: set[str] = set()
        seen: set[int] = set()
        settled = math.inf  # the distance from which on nothing changes
        for distance, index in self._nearest(position):
            if distance > settled or len(seen) == len(self._locations):
                break
            if index in seen:
                continue
            seen.add(index)  # the first of its tokens is the nearest
            location = self._locations[index]
            if usable(location):
                bisect.insort(
                    found,
                    (distance / self._weights[index], location.id, location),
                )
                nodes.add(location.node)
                if len(nodes) >= self._copies:
                    found = _best_on_each_node(found)[: self._copies]
                    settled = found[-1][0] * self._heaviest * _SLACK
        return [
            location
            for _, _, location in _best_on_each_node(found)[: self._copies]
        ]

    def ranges(self) -> Iterator[tuple[int, int, objects.Location]]:
        """See the contract; neighbouring ranges of one owner are joined."""
        # From the last token, whose range may reach over 0, once around.
        parts = itertools.chain.from_iterable(
            self._ranges_between(index)
            for index in range(-1, len(self._tokens))
            if self._tokens
        )
        first, last, owner = 0, -1, None
        for begin, end, candidate in parts:
            begin, end = max(begin, last + 1), min(end, objects.SPACE - 1)
            if begin > end:
                continue
            if owner is not None and candidate is not owner:
                yield first, last, owner
                first = begin
            last, owner = end, candidate
        if owner is not None:
            yield first, last, owner

    def _draw(self) -> list[int]:
        draw, bits, tokens = xxhash.xxh3_64_intdigest, self._bits, []
        for index, location in enumerate(self._locations):
            name = location.id.encode()
            tokens += [
                draw(name, number) << bits | index for number in range(TOKENS)
            ]
        return tokens

    def _token(self, index: int) -> int:
        """Return a token's place; beyond the ends, turns are added."""
        turns, index = divmod(index, len(self._tokens))
        return (self._tokens[index] >> self._bits) + turns * objects.SPACE

    def _owner(self, index: int) -> int:
        """Return the location's index of the token at *index*."""
        token = self._tokens[index % len(self._tokens)]
        return token & (1 << self._bits) - 1

    def _nearest(self, position: int) -> Iterator[tuple[int, int]]:
        """Yield (distance, location's index) of tokens, the nearest first."""
        if not self._tokens:
            return
        tokens, bits, mask = self._tokens, self._bits, (1 << self._bits) - 1
        after = bisect.bisect_left(tokens, position << bits)
        before = after - 1
        ahead = self._token(after) - position
        behind = position - self._token(before)
        for _ in range(len(tokens)):
            if ahead <= behind:
                yield ahead, tokens[after % len(tokens)] & mask
                after += 1
                ahead = self._token(after) - position
            else:
                yield behind, tokens[before] & mask
                before -= 1
                behind = position - self._token(before)

    def _ranges_between(
        self, index: int
    ) -> Iterator[tuple[int, int, objects.Location]]:
        """Yield the ranges between a token and the next one."""
        left, right = self._token(index), self._token(index + 1)
        rivals = self._rivals(index, left, right)

        def owner(point: int) -> objects.Location:
            return min(
                (abs(point - token) / weight, each.id, each)
                for token, weight, each in rivals
            )[2]

        cuts = {
            cut
            for (one, a, _), (other, b, _) in itertools.combinations(rivals, 2)
            for cut in _crossings(one, a, other, b)
            if left < cut < right
        }
        first = left + 1
        for begin, end in itertools.pairwise(sorted({left, right} | cuts)):
            here = owner((begin + end) // 2)
            last = end if end == right else _last(end, owner, here)
            if first <= last:
                yield first, last, here
                first = last + 1

    def _rivals(
        self, index: int, left: int, right: int
    ) -> list[tuple[int, float, objects.Location]]:
        """Return (token, weight, location) of who may own something here."""
        weights = (
            self._weights[self._owner(index)],
            self._weights[self._owner(index + 1)],
        )
        # At worst, the better of the two neighbours is that good.
        reach = (right - left) / sum(weights) * self._heaviest
        rivals = []
        for side, start, heaviest in ((-1, index, 0.0), (1, index + 1, 0.0)):
            edge = self._token(start)
            for step in range(len(self._tokens)):
                token = self._token(start + side * step)
                if abs(token - edge) > reach or heaviest == self._heaviest:
                    break
                owner = self._owner(start + side * step)
                # Who is farther away and no heavier owns nothing here.
                if self._weights[owner] > heaviest:
                    heaviest = self._weights[owner]
                    rivals.append((token, heaviest, self._locations[owner]))
        return rivals


def _best_on_each_node(
    found: list[tuple[float, str, objects.Location]],
) -> list[tuple[float, str, objects.Location]]:
    """Leave out all but the first of each node; *found* is sorted."""
    best: dict[str, tuple[float, str, objects.Location]] = {}
    for each in found:
        best.setdefault(each[2].node, each)
    return list(best.values())


def _crossings(
    one: int, one_weight: float, other: int, other_weight: float
) -> Iterator[int]:
    """Yield the points that are as near, by weight, to either token."""
    total = one_weight + other_weight
    yield int(one + (other - one) * (one_weight / total))
    if one_weight != other_weight:
        yield int(
            one + (other - one) * (one_weight / (one_weight - other_weight))
        )


def _last(
    cut: int,
    owner: Callable[[int], objects.Location],
    wanted: objects.Location,
) -> int:
    """Return the last point near *cut* of one owner: floats lack digits."""
    low, high = cut - _ROUNDING, cut + _ROUNDING
    while low < high:
        middle = (low + high + 1) // 2
        if owner(middle) is wanted:
            low = middle
        else:
            high = middle - 1
    return low


def _sorted(tokens: Sequence[int]) -> list[int]:
    """Sort tokens by buckets of the hash space: hashes fill them evenly."""
    shift = max(max(tokens, default=0).bit_length() - _BUCKET_BITS, 0)
    buckets: list[list[int]] = [[] for _ in range(1 << _BUCKET_BITS)]
    for token in tokens:
        buckets[token >> shift].append(token)
    result: list[int] = []
    for bucket in buckets:
        bucket.sort()
        result += bucket
    return result
