# SPDX-License-Identifier: Apache-2.0
import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.contract import policy
from tests.contract.clusters import SETTINGS
from tests.contract.clusters import clusters
from tests.contract.clusters import location
from tests.contract.clusters import many
from tests.contract.clusters import positions
from tests.contract.clusters import some_positions
from tmpl_glance_store import objects
from tmpl_glance_store.placement import contract
from tmpl_glance_store.placement import hash_range


class TestContract(policy.PolicyContract):
    policy = hash_range.HashRange


@SETTINGS
@hypothesis.given(clusters)
def test_the_ranges_tile_the_space_exactly(locations):
    ranges = list(hash_range.HashRange(locations, 1).ranges())
    if not contract.candidates(locations, objects.SSD):
        assert ranges == []
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
def test_neighbouring_ranges_have_different_owners(locations):
    owners = [
        owner for *_, owner in hash_range.HashRange(locations, 1).ranges()
    ]
    assert all(one != next_ for one, next_ in itertools.pairwise(owners))


@SETTINGS
@hypothesis.given(clusters, positions)
def test_the_owner_of_a_range_is_the_first_target_within_it(
    locations, position
):
    policy = hash_range.HashRange(locations, 1)
    for first, last, owner in policy.ranges():
        asked = {first, last, (first + last) // 2}
        asked |= {position} if first <= position <= last else set()
        assert all(policy.targets(each) == [owner] for each in asked)


def test_one_location_owns_the_whole_space():
    for name in 'abcdef':
        only = location(name)
        assert list(hash_range.HashRange([only], 3).ranges()) == [
            (0, objects.SPACE - 1, only)
        ]


@SETTINGS
@hypothesis.given(clusters, positions)
def test_the_next_target_is_who_would_own_without_the_first(
    locations, position
):
    targets = hash_range.HashRange(locations, 3).targets(position)
    for count in range(len(targets)):
        gone = {each.node for each in targets[:count]}
        left = [each for each in locations if each.node not in gone]
        assert (
            hash_range.HashRange(left, 1).targets(position)
            == targets[count : count + 1]
        )


@pytest.mark.parametrize(
    ('copies', 'nodes', 'expected'),
    [(1, 5, 1), (3, 5, 3), (5, 5, 5), (9, 5, 5), (3, 1, 1)],
)
def test_there_are_as_many_targets_as_copies_or_nodes(copies, nodes, expected):
    policy = hash_range.HashRange(many(nodes), copies)
    assert {len(policy.targets(p)) for p in some_positions()} == {expected}


def test_two_disks_of_a_node_never_get_the_same_template():
    locations = [
        location(f'{n}-{disk}', node=f'n{n}')
        for n in range(3)
        for disk in range(4)
    ]
    policy = hash_range.HashRange(locations, 3)
    for position in some_positions():
        assert sorted(each.node for each in policy.targets(position)) == [
            'n0',
            'n1',
            'n2',
        ]


@SETTINGS
@hypothesis.given(positions, st.sets(st.integers(0, 7)), st.integers(1, 8))
def test_a_full_location_is_skipped_to_the_next_range(position, full, copies):
    locations = many(8)
    order = hash_range.HashRange(locations, 8).targets(position)
    names = {f'loc-{n}' for n in full}
    assert (
        hash_range.HashRange(locations, copies).targets(
            position, lambda each: each.id not in names
        )
        == [each for each in order if each.id not in names][:copies]
    )


def test_the_other_disk_of_the_node_may_stand_in_for_a_full_one():
    locations = [location('a', node='n'), location('b', node='n')]
    policy = hash_range.HashRange(locations, 2)
    for position in some_positions(50):
        (first,) = policy.targets(position)
        (second,) = policy.targets(position, lambda each: each != first)  # noqa: B023
        assert first != second


def test_a_hard_disk_owns_no_range():
    ssd = location('s')
    policy = hash_range.HashRange([ssd, location('h', tier=objects.HDD)], 2)
    assert {owner.id for _, _, owner in policy.ranges()} == {'s'}
    assert policy.targets(5) == [ssd]
