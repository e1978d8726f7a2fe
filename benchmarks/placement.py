# SPDX-License-Identifier: Apache-2.0
"""How fast and how even hash-range placement is."""

import random
import time
import uuid
from collections.abc import Iterator

from benchmarks import report
from tmpl_glance_store import objects
from tmpl_glance_store.placement import hash_range

LOCATIONS = 10_000
LOOKUPS = 20_000


def _locations(count: int) -> list[objects.Location]:
    draw = random.Random(20)
    return [
        objects.Location(
            str(uuid.UUID(int=draw.getrandbits(128))),
            f'node{number}',
            objects.SSD,
            '/srv/ssd',
            960.0,
        )
        for number in range(count)
    ]


def _moved(before: hash_range.HashRange, after: hash_range.HashRange) -> float:
    """Return the share of the space that has another owner, exactly."""
    moved, at = 0, 0
    old, new = before.ranges(), after.ranges()
    (_, old_last, old_owner), (_, new_last, new_owner) = next(old), next(new)
    while True:
        last = min(old_last, new_last)
        if old_owner is not new_owner:
            moved += last - at + 1
        at = last + 1
        if at == objects.SPACE:
            return moved / objects.SPACE
        if old_last == last:
            _, old_last, old_owner = next(old)
        if new_last == last:
            _, new_last, new_owner = next(new)


def measure() -> Iterator[report.Figure]:
    """Yield the figures of placement."""
    locations = _locations(LOCATIONS + 1)
    draw = random.Random(64)
    positions = [draw.getrandbits(64) for _ in range(LOOKUPS)]
    start = time.perf_counter()
    policy = hash_range.HashRange(locations[:-1], 3)
    seconds = time.perf_counter() - start
    yield report.figure(
        f'layout of {LOCATIONS} locations', seconds, 's', '<= 2', seconds <= 2
    )
    start = time.perf_counter()
    for position in positions:
        policy.targets(position)
    micros = (time.perf_counter() - start) / LOOKUPS * 1e6
    yield report.figure(
        'look-up of 3 targets among them', micros, 'us', '<= 20', micros <= 20
    )
    for count in (3, 10, 100, 1000, LOCATIONS):
        policy = hash_range.HashRange(locations[:count], 1)
        shares = dict.fromkeys((each.id for each in locations[:count]), 0)
        for first, last, owner in policy.ranges():
            shares[owner.id] += last - first + 1
        worst = max(
            abs(share * count / objects.SPACE - 1) for share in shares.values()
        )
        yield report.figure(
            f'largest deviation of {count} equal shares',
            worst,
            'of mean',
            '<= 0.25',
            worst <= 0.25,
        )
        grown = hash_range.HashRange(locations[: count + 1], 1)
        moved = _moved(policy, grown) * (count + 1)
        yield report.figure(
            f'moved when 1 of {count + 1} is added',
            moved,
            '/n',
            '<= 1.3',
            moved <= 1.3,
        )
