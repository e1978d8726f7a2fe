# SPDX-License-Identifier: Apache-2.0
"""Locations, and the draining of nodes."""

import dataclasses

import pytest

from tests.unit.catalog.support import LOCATIONS
from tests.unit.catalog.support import STATE
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import image
from tests.unit.catalog.support import location
from tests.unit.catalog.support import place
from tests.unit.catalog.support import written
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog.contract import Put


def test_locations_are_told_by_id(make, rival):
    catalog = make()
    locations = [location('n1/a', weight=1.5), location('n1/b')]
    for each in reversed(locations):
        catalog.locations.put(each)
    assert rival.locations.all() == locations
    missing = dataclasses.replace(
        locations[0], health=objects.MISSING, reason='it is not mounted'
    )
    rival.locations.put(missing)
    assert catalog.locations.all() == [missing, locations[1]]


def test_a_location_that_did_not_change_is_not_written(catalog):
    before = catalog.records.store.list('/')
    place(catalog, X)
    assert catalog.records.store.list('/') == before


def states(catalog):
    return {each.id: each.state for each in catalog.locations.all()}


def test_draining_writes_what_the_operator_wants_and_nothing_else(catalog):
    place(catalog, 'm/x')
    before = catalog.records.store.list(f'{STATE}/locations/')
    catalog.locations.drain('n')
    assert [each.key for each in written(catalog)] == [
        f'{STATE}/placement/{each}' for each in LOCATIONS
    ]
    assert catalog.records.store.list(f'{STATE}/locations/') == before
    assert catalog.snapshot().locations[X].state == objects.DRAINING


def test_draining_a_node_drains_its_active_locations_only(make):
    catalog = make()
    for each in ('n1/a', 'n1/b', 'n2/c', 'n10/d'):
        place(catalog, each)
    retired = objects.Placement('n1/b', objects.RETIRED)
    catalog.records.store.commit([], [catalog.records.placement.put(retired)])
    drained = catalog.locations.drain('n1')
    assert [each.id for each in drained] == ['n1/a', 'n1/b']
    assert [each.state for each in drained] == ['draining', 'retired']
    assert states(catalog) == {
        'n1/a': 'draining',
        'n1/b': 'retired',
        'n10/d': 'active',
        'n2/c': 'active',
    }
    catalog.locations.resume('n1')
    assert states(catalog)['n1/a'] == 'active'
    assert states(catalog)['n1/b'] == 'retired'


def test_what_a_node_says_of_its_location_leaves_it_drained(catalog):
    place(catalog, 'm/x')
    catalog.locations.drain('n')
    place(catalog, X, weight=9.0, state=objects.ACTIVE)
    assert states(catalog)[X] == objects.DRAINING


def test_the_last_active_node_cannot_be_drained(make):
    catalog = make()
    place(catalog, 'n1/a')
    place(catalog, 'n2/b', tier='staging')
    place(catalog, 'n3/c')
    catalog.locations.drain('n3')
    with pytest.raises(exceptions.Invalid, match='no other node than n1'):
        catalog.locations.drain('n1')
    assert states(catalog)['n1/a'] == 'active'


@pytest.mark.parametrize('verb', ['drain', 'resume'])
def test_a_node_without_locations_is_not_found(catalog, verb):
    with pytest.raises(exceptions.NotFound):
        getattr(catalog.locations, verb)('n9')


def test_draining_keeps_what_the_node_writes_meanwhile(catalog, rival):
    place(catalog, 'm/x')
    before_commit(catalog, lambda: place(rival, X, weight=7.0))
    catalog.locations.drain('n')
    found = {each.id: each for each in catalog.locations.all()}[X]
    assert (found.state, found.weight) == ('draining', 7.0)


def test_a_forgotten_location_takes_its_copies_along(catalog):
    catalog.bindings.bind(image(), A, X)
    catalog.copies.adopt(A.digest, Y)
    catalog.copies.intend(B.digest, X)
    place(catalog, 'n/x2')
    catalog.copies.adopt(A.digest, 'n/x2')
    catalog.locations.forget(X)
    assert X not in states(catalog)
    assert [(c.digest, c.location_id) for c in catalog.copies.all()] == [
        (A.digest, 'n/x2'),
        (A.digest, Y),
    ]
    # The image is none the less wanted.
    assert catalog.bindings.template(A.digest).images == ('one',)
    catalog.locations.forget(X)  # no error if there is none


def test_a_bad_record_of_a_location_is_written_anew(catalog):
    key = f'{STATE}/locations/{X}'
    catalog.records.store.commit([], [Put(key, b'bad')])
    assert X not in states(catalog)
    place(catalog, X)
    assert X in states(catalog)
