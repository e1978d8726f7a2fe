# SPDX-License-Identifier: Apache-2.0
"""Clusters to place templates in."""

import random
from collections.abc import Iterable
from typing import Any

import hypothesis
from hypothesis import strategies as st

from tmpl_glance_store import objects


def location(
    name: str,
    node: str | None = None,
    tier: str = objects.SSD,
    weight: float = 100.0,
    state: str = objects.ACTIVE,
) -> objects.Location:
    """Return a location on a node of its own, unless *node* is given."""
    return objects.Location(
        name, node or f'node-{name}', tier, f'/srv/{name}', weight, state
    )


def ids(locations: Iterable[objects.Location]) -> list[str]:
    """Return the ids of *locations*."""
    return [each.id for each in locations]


def many(count: int, **fields: Any) -> list[objects.Location]:
    """Return locations on a node each."""
    return [location(f'loc-{n}', **fields) for n in range(count)]


def some_positions(count: int = 200) -> list[int]:
    """Return positions, the same ones each time; first those at the ends."""
    rnd = random.Random(3)
    return [
        0,
        objects.SPACE - 1,
        *(rnd.randrange(objects.SPACE) for _ in range(count)),
    ]


positions = st.integers(0, objects.SPACE - 1)
clusters = st.lists(
    st.builds(
        location,
        st.text('abc123-', min_size=1),
        st.sampled_from(['n1', 'n2', 'n3', None]),
        st.sampled_from(objects.TIERS),
        st.floats(0.001, 1e5),  # 1 MiB to 100 TiB
        st.sampled_from(
            [objects.ACTIVE] * 3 + [objects.DRAINING, objects.RETIRED]
        ),
    ),
    max_size=6,
    unique_by=lambda each: each.id,
)
SETTINGS = hypothesis.settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,  # a machine may be busy
        # The tests of several policies inherit the suite.
        hypothesis.HealthCheck.differing_executors,
    ],
)
