# SPDX-License-Identifier: Apache-2.0
"""Copies: intended, adopted, forgotten, released."""

import dataclasses

import pytest

from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import image
from tests.unit.catalog.support import put
from tmpl_glance_store import objects


def test_an_intended_copy_is_not_complete_until_it_is_bound(catalog):
    catalog.copies.intend(A.digest, 'x')
    assert catalog.copies.of(A.digest) == [
        objects.Copy(A.digest, 'x', complete=False)
    ]
    assert catalog.bindings.template(A.digest) is None
    catalog.bindings.bind(image(), A, 'x')
    assert [c.complete for c in catalog.copies.of(A.digest)] == [True]


def test_an_intention_leaves_a_known_copy_as_it_is(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    before = catalog.records.store.list('/')
    rival.copies.intend(A.digest, 'x')
    assert catalog.records.store.list('/') == before


def test_copies_are_told_by_template_and_by_location(catalog):
    like_a = A.digest[:-1] + 'b'
    for digest, location in (
        (A.digest, 'x'),
        (A.digest, 'y'),
        (B.digest, 'x'),
        (B.digest, 'x2'),
        (like_a, 'x2'),
    ):
        catalog.copies.intend(digest, location)
    assert [c.location_id for c in catalog.copies.of(A.digest)] == ['x', 'y']
    assert {
        d: c.location_id for d, c in catalog.copies.in_location('x').items()
    } == {
        A.digest: 'x',
        B.digest: 'x',
    }
    assert list(catalog.copies.in_location('y')) == [A.digest]
    assert catalog.copies.in_location('z') == {}


def test_a_forgotten_copy_is_gone_alone(catalog):
    catalog.copies.intend(A.digest, 'x')
    catalog.copies.intend(A.digest, 'y')
    for _ in range(2):  # no error if there is none
        catalog.copies.forget(A.digest, 'x')
        assert [c.location_id for c in catalog.copies.of(A.digest)] == ['y']


def test_an_adopted_copy_brings_its_template_back(catalog):
    catalog.copies.adopt(A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(A)
    (copy,) = catalog.copies.of(A.digest)
    assert copy.complete
    # Nobody has removed an image: it is kept for the operator.
    assert not catalog.bindings.is_unreferenced(A.digest)


def test_an_adopted_copy_leaves_a_known_template_as_it_is(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.copies.adopt(dataclasses.replace(A, created_at=99.0), 'y')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('one',)
    )
    assert [c.location_id for c in catalog.copies.of(A.digest)] == ['x', 'y']


def test_an_adoption_brings_a_template_back_whose_copy_is_known(catalog):
    put(catalog, objects.Copy(A.digest, 'x', complete=True, verified_at=5.0))
    catalog.copies.adopt(A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(A)
    assert catalog.copies.of(A.digest)[0].verified_at == 5.0


def test_an_intended_copy_can_be_adopted(catalog):
    catalog.copies.intend(A.digest, 'x')
    catalog.copies.adopt(A, 'x')
    assert [c.complete for c in catalog.copies.of(A.digest)] == [True]


def test_what_is_known_of_a_copy_survives_its_adoption(catalog):
    known = objects.Copy(
        A.digest, 'x', complete=True, verified_at=5.0, published=('one',)
    )
    catalog.bindings.bind(image(), A, 'x')
    put(catalog, known)
    catalog.copies.adopt(A, 'x')
    assert catalog.copies.of(A.digest) == [known]


def test_where_a_copy_is_published_survives_another_binding(catalog):
    catalog.bindings.bind(image('one'), A, 'x')
    put(
        catalog,
        objects.Copy(
            A.digest, 'x', complete=True, verified_at=5.0, published=('one',)
        ),
    )
    catalog.bindings.bind(image('two'), A, 'x')
    assert catalog.copies.of(A.digest)[0].published == ('one',)


def test_all_copies_of_the_cluster_are_told(catalog):
    catalog.copies.intend(B.digest, 'y')
    catalog.copies.adopt(A, 'x')
    assert [(c.digest, c.location_id) for c in catalog.copies.all()] == [
        (A.digest, 'x'),
        (B.digest, 'y'),
    ]


def test_a_copy_is_released_to_complete_ones(catalog):
    for location in 'xyz':
        catalog.copies.adopt(A, location)
    assert catalog.copies.release(A.digest, 'x', ['y', 'z'])
    assert [c.location_id for c in catalog.copies.of(A.digest)] == ['y', 'z']


@pytest.mark.parametrize('keepers', [[], ['y'], ['z'], ['z', 'w'], ['w']])
def test_a_copy_is_not_released_to_incomplete_ones(catalog, keepers):
    catalog.copies.adopt(A, 'x')
    catalog.copies.adopt(A, 'z' if keepers == ['z', 'w'] else 'v')
    catalog.copies.intend(A.digest, 'y')
    before = catalog.records.store.list('/')
    assert not catalog.copies.release(A.digest, 'x', keepers)
    assert catalog.records.store.list('/') == before


def test_two_copies_cannot_be_released_to_each_other(catalog, rival):
    catalog.copies.adopt(A, 'x')
    catalog.copies.adopt(A, 'y')
    won = []
    before_commit(
        catalog, lambda: won.append(rival.copies.release(A.digest, 'y', ['x']))
    )
    assert not catalog.copies.release(A.digest, 'x', ['y'])
    assert won == [True]
    assert [c.location_id for c in catalog.copies.of(A.digest)] == ['x']
