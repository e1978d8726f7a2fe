# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.contract.clusters import location
from tests.contract.clusters import many
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import objects
from tmpl_glance_store.options import placement as placement_options
from tmpl_glance_store.placement import all_nodes
from tmpl_glance_store.placement import hash_range


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
