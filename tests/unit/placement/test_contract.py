# SPDX-License-Identifier: Apache-2.0
from tests.contract.clusters import ids
from tests.contract.clusters import location
from tmpl_glance_store import objects
from tmpl_glance_store.placement import contract


def test_candidates_are_told_by_id_whatever_their_order():
    locations = [location(name) for name in 'cab']
    assert ids(contract.candidates(locations, objects.SSD)) == ['a', 'b', 'c']
