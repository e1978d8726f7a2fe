# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.contract import policy
from tests.contract.clusters import location
from tests.contract.clusters import many
from tests.contract.clusters import some_positions
from tmpl_glance_store import objects
from tmpl_glance_store.placement import all_nodes


class TestContract(policy.PolicyContract):
    policy = all_nodes.AllNodes


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
