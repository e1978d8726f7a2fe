# SPDX-License-Identifier: Apache-2.0
import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.contract.clusters import SETTINGS
from tests.contract.clusters import ids
from tests.contract.clusters import location
from tests.contract.clusters import many
from tests.contract.clusters import positions
from tmpl_glance_store import objects
from tmpl_glance_store.placement import hash_range


def shares(locations):
    """Return each location's part of the space, by id."""
    result = {each.id: 0.0 for each in locations}
    for first, last, owner in hash_range.HashRange(locations, 1).ranges():
        result[owner.id] += (last - first + 1) / objects.SPACE
    return result


def moved(before, after):
    """Return the parts of the space that change hands, by (old, new)."""
    result = {}
    old, new = (
        list(hash_range.HashRange(each, 1).ranges())
        for each in (before, after)
    )
    position = 0
    while position < objects.SPACE:
        (_, end, was), (_, stop, now) = old[0], new[0]
        last = min(end, stop)
        if was.id != now.id:
            result[was.id, now.id] = result.get((was.id, now.id), 0) + (
                (last - position + 1) / objects.SPACE
            )
        position = last + 1
        old, new = old[end == last :], new[stop == last :]
    return result


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
