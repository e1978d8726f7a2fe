# SPDX-License-Identifier: Apache-2.0
"""Locations, and the draining of nodes."""

import dataclasses

import pytest

from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import place
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects


def test_locations_are_told_by_id(catalog, rival):
    locations = [objects.Location(i, 'n', 'ssd', f'/{i}', 1.5) for i in 'xy']
    for location in reversed(locations):
        catalog.locations.put(location)
    assert rival.locations.all() == locations
    lost = dataclasses.replace(locations[0], state=objects.LOST)
    rival.locations.put(lost)
    assert catalog.locations.all() == [lost, locations[1]]


def test_a_location_that_did_not_change_is_not_written(catalog):
    location = objects.Location('x', 'n', 'ssd', '/x', 1.5)
    catalog.locations.put(location)
    before = catalog.records.store.list('/')
    catalog.locations.put(location)
    assert catalog.records.store.list('/') == before


def states(catalog):
    return {each.id: each.state for each in catalog.locations.all()}


def test_draining_a_node_drains_its_active_locations_only(catalog):
    place(catalog, 'a', 'n1')
    place(catalog, 'b', 'n1', state='lost')
    place(catalog, 'c', 'n2')
    assert [each.id for each in catalog.locations.drain('n1')] == ['a', 'b']
    assert states(catalog) == {'a': 'draining', 'b': 'lost', 'c': 'active'}
    catalog.locations.resume('n1')
    assert states(catalog) == {'a': 'active', 'b': 'lost', 'c': 'active'}


def test_the_last_active_node_cannot_be_drained(catalog):
    place(catalog, 'a', 'n1')
    place(catalog, 'b', 'n2', tier='staging')
    place(catalog, 'c', 'n3', state='lost')
    with pytest.raises(exceptions.Invalid):
        catalog.locations.drain('n1')
    assert states(catalog)['a'] == 'active'


@pytest.mark.parametrize('verb', ['drain', 'resume'])
def test_a_node_without_locations_is_not_found(catalog, verb):
    place(catalog, 'a', 'n1')
    with pytest.raises(exceptions.NotFound):
        getattr(catalog.locations, verb)('n9')


def test_draining_keeps_what_the_node_writes_meanwhile(catalog, rival):
    place(catalog, 'a', 'n1')
    place(catalog, 'b', 'n2')
    before_commit(catalog, lambda: place(rival, 'a', 'n1', weight=7.0))
    catalog.locations.drain('n1')
    location = catalog.locations.all()[0]
    assert (location.state, location.weight) == ('draining', 7.0)
