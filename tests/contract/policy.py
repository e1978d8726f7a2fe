# SPDX-License-Identifier: Apache-2.0
"""The one suite that every placement policy must pass.

A policy's tests inherit :class:`PolicyContract` and name it in ``policy``.
"""

import itertools
import random
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.contract.clusters import SETTINGS
from tests.contract.clusters import clusters
from tests.contract.clusters import ids
from tests.contract.clusters import location
from tests.contract.clusters import many
from tests.contract.clusters import positions
from tests.contract.clusters import some_positions
from tmpl_glance_store import objects
from tmpl_glance_store.placement import contract


class PolicyContract:
    """What every policy keeps to.

    :cvar policy: builds it from (locations, copies)
    :cvar moves: copies of one template that may change their place when one
        location joins or leaves
    """

    policy: Any
    moves = 1

    def build(
        self, locations: list[objects.Location], copies: int
    ) -> contract.Policy:
        """Return the policy, with what else it wants."""
        built: contract.Policy = type(self).policy(locations, copies)
        return built

    @SETTINGS
    @hypothesis.given(clusters, positions, st.integers(1, 4), st.randoms())
    def test_the_answer_depends_on_nothing_but_the_arguments(
        self,
        locations: list[objects.Location],
        position: int,
        copies: int,
        rnd: random.Random,
    ) -> None:
        first = self.build(locations, copies)
        shuffled = list(locations)
        rnd.shuffle(shuffled)
        second = self.build(shuffled, copies)
        # Not even on what was asked before.
        second.targets(objects.SPACE - 1 - position)
        assert first.targets(position) == second.targets(position)
        assert first.targets(position) == first.targets(position)
        assert list(first.ranges()) == list(second.ranges())

    @SETTINGS
    @hypothesis.given(clusters, positions, st.integers(1, 4), st.data())
    def test_targets_are_usable_active_disks_on_distinct_nodes(
        self,
        locations: list[objects.Location],
        position: int,
        copies: int,
        data: st.DataObject,
    ) -> None:
        usable = set(
            data.draw(st.lists(st.sampled_from(ids(locations))))
            if locations
            else ()
        )
        found = self.build(locations, copies).targets(
            position, lambda each: each.id in usable
        )
        assert len({each.node for each in found}) == len(found)
        for each in found:
            assert each in locations
            assert each.id in usable
            assert each.state == objects.ACTIVE
            assert each.tier != objects.STAGING

    def test_nothing_is_wanted_where_there_is_no_location(self) -> None:
        assert self.build([], 3).targets(5) == []
        assert list(self.build([], 3).ranges()) == []

    @pytest.mark.parametrize(
        'fields',
        [
            {'state': objects.DRAINING},
            {'state': objects.RETIRED},
            {'tier': objects.STAGING},
        ],
    )
    def test_a_location_that_must_not_be_used_is_never_wanted(
        self, fields: dict[str, str]
    ) -> None:
        other = location('y')
        unused = location('x', **fields)  # type: ignore[arg-type]
        built = self.build([unused, other], 2)
        assert all(built.targets(p) == [other] for p in some_positions(50))
        assert self.build([unused], 2).targets(5) == []

    def test_a_location_that_cannot_be_used_is_passed_over(self) -> None:
        locations = many(5)
        built = self.build(locations, 2)
        for position in some_positions(50):
            first = built.targets(position)[0]
            others = built.targets(
                position, lambda each, first=first: each != first
            )
            assert others
            assert first not in others

    def test_locations_without_any_weight_share_evenly(self) -> None:
        # A weight is in GiB, rounded: a tiny file system may have none.
        found = self.build(many(2, weight=0.0), 2).targets(5)
        assert sorted(ids(found)) == ['loc-0', 'loc-1']

    @pytest.mark.parametrize('copies', [1, 3])
    @pytest.mark.parametrize('count', [1, 4, 20])
    def test_one_location_that_joins_or_leaves_moves_the_least(
        self, count: int, copies: int
    ) -> None:
        fewer = many(count)
        new = location('new')
        small = self.build(fewer, copies)
        large = self.build([*fewer, new], copies)
        for position in some_positions(50):
            before = set(ids(small.targets(position)))
            after = set(ids(large.targets(position)))
            # The new one takes from one at most, and nothing moves between
            # the others.
            assert after - before <= {'new'}
            assert len(before - after) <= self.moves
            if 'new' not in after:
                assert before == after

    @SETTINGS
    @hypothesis.given(clusters)
    def test_ranges_tile_the_space_exactly_or_there_are_none(
        self, locations: list[objects.Location]
    ) -> None:
        ranges = list(self.build(locations, 1).ranges())
        if not ranges:
            return
        assert ranges[0][0] == 0
        assert ranges[-1][1] == objects.SPACE - 1
        assert all(first <= last for first, last, _ in ranges)
        assert all(
            first == last + 1
            for (_, last, _), (first, _, _) in itertools.pairwise(ranges)
        )

    @SETTINGS
    @hypothesis.given(clusters)
    def test_the_owner_of_a_range_is_the_first_target_within_it(
        self, locations: list[objects.Location]
    ) -> None:
        built = self.build(locations, 1)
        for first, last, owner in built.ranges():
            for position in first, (first + last) // 2, last:
                assert built.targets(position)[0] == owner
