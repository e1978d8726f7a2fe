# SPDX-License-Identifier: Apache-2.0
import dataclasses
import hashlib
import itertools
import random

import hypothesis
import pytest
from hypothesis import strategies as st

from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import objects
from tmpl_glance_store.options import placement as placement_options
from tmpl_glance_store.placement import all_nodes
from tmpl_glance_store.placement import contract
from tmpl_glance_store.placement import hash_range

SPACE = objects.SPACE
POLICIES = (hash_range.HashRange, all_nodes.AllNodes)


def location(
    name, node=None, tier=objects.SSD, weight=100.0, state=objects.ACTIVE
):
    return objects.Location(
        name, node or f'node-{name}', tier, f'/srv/{name}', weight, state
    )


def ids(locations):
    return [each.id for each in locations]


def many(count, **fields):
    return [location(f'loc-{n}', **fields) for n in range(count)]


def shares(locations):
    """Return each location's part of the space, by id."""
    result = {each.id: 0.0 for each in locations}
    for first, last, owner in hash_range.HashRange(locations, 1).ranges():
        result[owner.id] += (last - first + 1) / SPACE
    return result


def moved(before, after):
    """Return the parts of the space that change hands, by (old, new)."""
    result = {}
    old, new = (
        list(hash_range.HashRange(each, 1).ranges())
        for each in (before, after)
    )
    position = 0
    while position < SPACE:
        (_, end, was), (_, stop, now) = old[0], new[0]
        last = min(end, stop)
        if was.id != now.id:
            result[was.id, now.id] = result.get((was.id, now.id), 0) + (
                (last - position + 1) / SPACE
            )
        position = last + 1
        old, new = old[end == last :], new[stop == last :]
    return result


def some_positions(count=200):
    rnd = random.Random(3)
    return [0, SPACE - 1, *(rnd.randrange(SPACE) for _ in range(count))]


positions = st.integers(0, SPACE - 1)
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
SETTINGS = hypothesis.settings(deadline=None, max_examples=100)


# What every policy keeps to


@pytest.mark.parametrize('policy', POLICIES)
@SETTINGS
@hypothesis.given(clusters, positions, st.integers(1, 4), st.randoms())
def test_the_answer_depends_on_nothing_but_the_arguments(
    policy, locations, position, copies, rnd
):
    first = policy(locations, copies)
    shuffled = list(locations)
    rnd.shuffle(shuffled)
    second = policy(shuffled, copies)
    # Not even on what was asked before.
    second.targets(SPACE - 1 - position)
    assert first.targets(position) == second.targets(position)
    assert first.targets(position) == first.targets(position)
    assert list(first.ranges()) == list(second.ranges())


@pytest.mark.parametrize('policy', POLICIES)
@SETTINGS
@hypothesis.given(clusters, positions, st.integers(1, 4), st.data())
def test_targets_are_usable_active_disks_on_distinct_nodes(
    policy, locations, position, copies, data
):
    usable = set(
        data.draw(st.lists(st.sampled_from(ids(locations))))
        if locations
        else ()
    )
    found = policy(locations, copies).targets(
        position, lambda each: each.id in usable
    )
    assert len({each.node for each in found}) == len(found)
    for each in found:
        assert each in locations
        assert each.id in usable
        assert each.state == objects.ACTIVE
        assert each.tier != objects.STAGING


@pytest.mark.parametrize('policy', POLICIES)
def test_nothing_is_wanted_where_there_is_no_location(policy):
    assert policy([], 3).targets(5) == []
    assert list(policy([], 3).ranges()) == []


@pytest.mark.parametrize('policy', POLICIES)
@pytest.mark.parametrize(
    'fields',
    [
        {'state': objects.DRAINING},
        {'state': objects.RETIRED},
        {'tier': objects.STAGING},
    ],
)
def test_a_location_that_must_not_be_used_is_never_wanted(policy, fields):
    other = location('y')
    built = policy([location('x', **fields), other], 2)
    assert all(built.targets(p) == [other] for p in some_positions(50))
    assert policy([location('x', **fields)], 2).targets(5) == []


@pytest.mark.parametrize('policy', POLICIES)
def test_locations_without_any_weight_share_evenly(policy):
    # A weight is in GiB, rounded: a tiny file system may have none.
    found = policy(many(2, weight=0.0), 2).targets(5)
    assert sorted(ids(found)) == ['loc-0', 'loc-1']


def test_candidates_are_told_by_id_whatever_their_order():
    locations = [location(name) for name in 'cab']
    assert ids(contract.candidates(locations, objects.SSD)) == ['a', 'b', 'c']


# Hash ranges


@SETTINGS
@hypothesis.given(clusters)
def test_the_ranges_tile_the_space_exactly(locations):
    ranges = list(hash_range.HashRange(locations, 1).ranges())
    if not contract.candidates(locations, objects.SSD):
        assert ranges == []
        return
    assert ranges[0][0] == 0
    assert ranges[-1][1] == SPACE - 1
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
            (0, SPACE - 1, only)
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


def test_equal_weights_get_equal_shares():
    found = shares(many(100))
    assert sum(found.values()) == pytest.approx(1)
    assert max(abs(share * 100 - 1) for share in found.values()) < 0.25


def test_shares_are_in_proportion_to_the_weights():
    locations = [
        location(f'loc-{n}', weight=weight)
        for n, weight in enumerate([100, 200, 400, 800] * 5)
    ]
    total = sum(each.weight for each in locations)
    found = shares(locations)
    for each in locations:
        assert found[each.id] == pytest.approx(each.weight / total, rel=0.35)
    for weight in (100, 200, 400, 800):
        assert sum(
            found[each.id] for each in locations if each.weight == weight
        ) == pytest.approx(5 * weight / total, rel=0.1)


def test_the_unit_of_the_weights_does_not_matter():
    gib = [location(f'loc-{n}', weight=n + 1.0) for n in range(4)]
    mib = [
        dataclasses.replace(each, weight=each.weight * 1024) for each in gib
    ]
    assert [
        (a, b, o.id) for a, b, o in hash_range.HashRange(gib, 1).ranges()
    ] == [(a, b, o.id) for a, b, o in hash_range.HashRange(mib, 1).ranges()]


# Movement


@pytest.mark.parametrize('count', [1, 4, 20])
def test_a_new_location_only_takes_and_about_its_share(count):
    before = many(count)
    found = moved(before, [*before, location('new')])
    assert {now for _, now in found} == {'new'}
    assert 0.7 / (count + 1) < sum(found.values()) < 1.3 / (count + 1)


@pytest.mark.parametrize('state', [objects.DRAINING, objects.RETIRED, None])
def test_a_location_that_goes_gives_only_what_it_had(state):
    before = many(20)
    after = [each for each in before if each.id != 'loc-7']
    if state:
        after.append(dataclasses.replace(before[7], state=state))
    found = moved(before, after)
    assert {was for was, _ in found} == {'loc-7'}
    # To many others, not to one: it would drown in them.
    assert len(found) > 10


@pytest.mark.parametrize('weight', [90.0, 101.0, 400.0])
def test_a_new_location_of_another_weight_only_takes(weight):
    before = many(10)
    found = moved(before, [*before, location('new', weight=weight)])
    between_old = sum(part for (_, now), part in found.items() if now != 'new')
    assert between_old < 0.01, f'{between_old:.1%} moves between old ones'


@SETTINGS
@hypothesis.given(positions, st.integers(1, 9), st.integers(1, 4))
def test_a_new_node_takes_at_most_one_copy_of_each_template(
    position, count, copies
):
    before = many(count)
    old = hash_range.HashRange(before, copies).targets(position)
    new = hash_range.HashRange([*before, location('new')], copies).targets(
        position
    )
    assert set(ids(new)) - set(ids(old)) <= {'new'}
    assert len(set(ids(old)) - set(ids(new))) <= 1


# The layout of today: to change it moves the data of every operator.

GOLDEN_LOCATIONS = [
    location(f'00000000-0000-4000-8000-00000000000{n}', weight=weight)
    for n, weight in enumerate([100.0, 100.0, 400.0, 931.513])
]

GOLDEN = {
    0x0000000000000000: '320',
    0x123456789ABCDEF0: '302',
    0x3FFFFFFFFFFFFFFF: '320',
    0x4000000000000000: '320',
    0x7777777777777777: '320',
    0x8000000000000000: '320',
    0xA5A5A5A5A5A5A5A5: '310',
    0xCAFEBABEDEADBEEF: '320',
    0xE000000000000000: '320',
    0xFFFFFFFFFFFFFFFF: '320',
}

GOLDEN_BORDERS = (
    'fbbf0df5033355ae228f5b92e75ca9101edbcdcf70fb00f119f58b2f09a8f653'
)


def last_digits(locations):
    return ''.join(each.id[-1] for each in locations)


def test_templates_stay_where_earlier_releases_have_put_them():
    policy = hash_range.HashRange(GOLDEN_LOCATIONS, 3)
    assert {
        position: last_digits(policy.targets(position)) for position in GOLDEN
    } == GOLDEN


def test_all_borders_stay_where_they_were_in_earlier_releases():
    ranges = hash_range.HashRange(GOLDEN_LOCATIONS, 3).ranges()
    borders = [
        f'{next(same)[0]:016x} {owner.id}'
        for owner, same in itertools.groupby(ranges, key=lambda each: each[2])
    ]
    assert hashlib.sha256('\n'.join(borders).encode()).hexdigest() == (
        GOLDEN_BORDERS
    )


# All nodes


def test_every_node_gets_one_copy_whatever_the_number_of_copies():
    locations = [
        location(f'{n}-{disk}', node=f'n{n}')
        for n in range(4)
        for disk in range(2)
    ]
    for position in some_positions(50):
        found = all_nodes.AllNodes(locations, 1).targets(position)
        assert [each.node for each in found] == ['n0', 'n1', 'n2', 'n3']


def test_the_nodes_are_told_by_name():
    locations = [location('a', 'n2'), location('b', 'n3'), location('c', 'n1')]
    found = all_nodes.AllNodes(locations, 1).targets(5)
    assert [each.node for each in found] == ['n1', 'n2', 'n3']


def test_a_node_holds_its_copy_on_its_best_tier():
    ssd, hdd = location('a', 'n'), location('b', 'n', objects.HDD, 9000.0)
    alone = location('c', 'o', objects.HDD)
    policy = all_nodes.AllNodes([hdd, alone, ssd], 1)
    for position in some_positions(50):
        assert policy.targets(position) == [ssd, alone]


def test_a_node_whose_ssd_is_full_falls_back_to_its_hard_disk():
    ssd, hdd = location('a', 'n'), location('b', 'n', objects.HDD)
    policy = all_nodes.AllNodes([ssd, hdd], 1)
    assert policy.targets(5, lambda each: each != ssd) == [hdd]
    assert policy.targets(5, lambda each: False) == []


def test_a_node_spreads_its_templates_over_its_disks_by_weight():
    disks = [
        location('a', 'n', objects.HDD, 100.0),
        location('b', 'n', objects.HDD, 300.0),
    ]
    policy = all_nodes.AllNodes(disks, 1)
    asked = some_positions(1000)
    found = [policy.targets(position)[0].id for position in asked]
    assert found.count('b') / len(asked) == pytest.approx(0.75, abs=0.1)


def test_nothing_is_placed_by_hash_among_all_nodes():
    assert list(all_nodes.AllNodes(many(3), 1).ranges()) == []


# The choice of a policy


def build(placement, locations, copies=2):
    return factory.build_policy(
        placement_options.Placement(placement, copies), locations
    )


@pytest.mark.parametrize(
    ('name', 'policy'),
    [('hash_range', hash_range.HashRange), ('all_nodes', all_nodes.AllNodes)],
)
def test_a_policy_is_found_by_its_name(name, policy):
    built = build(name, [location('x', tier=objects.HDD), location('y')])
    assert type(built) is policy


@pytest.mark.parametrize('name', ['', 'no_such', 'hash-range', 'AUTO'])
def test_an_unknown_policy_is_refused(name):
    with pytest.raises(
        exceptions.BadConfiguration, match='tmpl_store_placement'
    ):
        build(name, [])


def test_the_number_of_copies_is_passed_on():
    assert len(build('hash_range', many(5), copies=4).targets(5)) == 4


@pytest.mark.parametrize(
    ('ssd', 'policy'),
    [
        ({}, hash_range.HashRange),
        ({'state': objects.DRAINING}, all_nodes.AllNodes),
        ({'state': objects.RETIRED}, all_nodes.AllNodes),
        ({'tier': objects.HDD}, all_nodes.AllNodes),
        ({'tier': objects.STAGING}, all_nodes.AllNodes),
    ],
)
def test_auto_places_by_hash_as_soon_as_there_is_one_active_ssd(ssd, policy):
    disks = many(3, tier=objects.HDD)
    assert type(build('auto', [*disks, location('x', **ssd)])) is policy


def test_auto_puts_a_copy_on_all_nodes_while_there_is_no_location():
    assert type(build('auto', [])) is all_nodes.AllNodes
