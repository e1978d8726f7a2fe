# SPDX-License-Identifier: Apache-2.0
"""Copies: intended, adopted, forgotten, released."""

import pytest

from tests.unit.catalog.support import LOCATIONS
from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import STATE
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tests.unit.catalog.support import Z
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import image
from tests.unit.catalog.support import place
from tests.unit.catalog.support import places
from tests.unit.catalog.support import put
from tests.unit.catalog.support import written
from tmpl_glance_store import objects
from tmpl_glance_store.catalog.contract import Put


def test_an_intended_copy_is_not_complete_until_it_is_bound(catalog):
    catalog.copies.intend(A.digest, X)
    assert catalog.copies.of(A.digest) == [
        objects.Copy(A.digest, X, complete=False)
    ]
    assert catalog.bindings.template(A.digest) is None
    catalog.bindings.bind(image(), A, X)
    assert [c.complete for c in catalog.copies.of(A.digest)] == [True]


def test_an_intention_leaves_a_known_copy_as_it_is(catalog, rival):
    catalog.bindings.bind(image(), A, X)
    before = written(catalog)
    rival.copies.intend(A.digest, X)
    assert written(catalog) == before


def test_copies_are_told_by_template_and_by_location(catalog):
    like_a, like_x = A.digest[:-1] + 'b', 'n/x2'
    place(catalog, like_x)
    for digest, where in (
        (A.digest, X),
        (A.digest, Y),
        (B.digest, X),
        (B.digest, like_x),
        (like_a, like_x),
    ):
        catalog.copies.intend(digest, where)
    assert places(catalog, A.digest) == [X, Y]
    assert {
        d: c.location_id for d, c in catalog.copies.in_location(X).items()
    } == {
        A.digest: X,
        B.digest: X,
    }
    assert list(catalog.copies.in_location(Y)) == [A.digest]
    assert catalog.copies.in_location(Z) == {}


def test_a_forgotten_copy_is_gone_alone(catalog):
    catalog.copies.intend(A.digest, X)
    catalog.copies.intend(A.digest, Y)
    for _ in range(2):  # no error if there is none
        catalog.copies.forget(A.digest, X)
        assert places(catalog, A.digest) == [Y]


def test_an_adopted_copy_is_all_that_is_written(catalog):
    catalog.copies.adopt(A.digest, X)
    assert [each.key for each in written(catalog)] == [
        f'{STATE}/copies/{X}/{A.digest}'
    ]
    assert catalog.copies.of(A.digest) == [
        objects.Copy(A.digest, X, complete=True)
    ]


def test_an_adopted_copy_may_just_have_been_proved(catalog):
    catalog.copies.adopt(A.digest, X, proved=True)
    assert catalog.copies.of(A.digest) == [
        objects.Copy(A.digest, X, complete=True, verified_at=NOW)
    ]


def test_an_adopted_copy_leaves_the_template_as_it_is(catalog):
    catalog.bindings.bind(image(), A, X)
    catalog.copies.adopt(A.digest, Y)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('one',)
    )
    assert places(catalog, A.digest) == [X, Y]


def test_a_record_of_a_copy_that_cannot_be_read_is_written_anew(catalog):
    key = f'{STATE}/copies/{X}/{A.digest}'
    for mend in (
        lambda: catalog.copies.adopt(A.digest, X),
        lambda: catalog.bindings.bind(image(), A, X),
    ):
        catalog.records.store.commit([], [Put(key, b'bad')])
        assert catalog.copies.of(A.digest) == []
        catalog.copies.verified(A.digest, X)
        catalog.copies.published(A.digest, X, ('one',), '')
        assert not catalog.copies.release(A.digest, Y, [X])
        assert catalog.records.store.get(key).value == b'bad'
        mend()
        assert [c.complete for c in catalog.copies.of(A.digest)] == [True]
        assert catalog.records.bad.reasons() == {}
    catalog.records.store.commit([], [Put(key, b'bad')])
    catalog.copies.drop(A.digest, X, lambda: False)
    assert catalog.records.store.get(key) is None


def test_an_intended_copy_can_be_adopted(catalog):
    catalog.copies.intend(A.digest, X)
    catalog.copies.adopt(A.digest, X)
    assert [c.complete for c in catalog.copies.of(A.digest)] == [True]


def test_what_is_known_of_a_copy_survives_its_adoption(catalog):
    known = objects.Copy(
        A.digest, X, complete=True, verified_at=5.0, published=('one',)
    )
    catalog.bindings.bind(image(), A, X)
    put(catalog, known)
    catalog.copies.adopt(A.digest, X)
    assert catalog.copies.of(A.digest) == [known]


def test_where_a_copy_is_published_survives_another_binding(catalog):
    catalog.bindings.bind(image('one'), A, X)
    put(
        catalog,
        objects.Copy(
            A.digest, X, complete=True, verified_at=5.0, published=('one',)
        ),
    )
    catalog.bindings.bind(image('two'), A, X)
    assert catalog.copies.of(A.digest)[0].published == ('one',)


def test_all_copies_of_the_cluster_are_told(catalog):
    catalog.copies.intend(B.digest, Y)
    catalog.copies.adopt(A.digest, X)
    assert [(c.digest, c.location_id) for c in catalog.copies.all()] == [
        (A.digest, X),
        (B.digest, Y),
    ]


def test_a_copy_is_released_to_complete_ones(catalog):
    for location in LOCATIONS:
        catalog.copies.adopt(A.digest, location)
    assert catalog.copies.release(A.digest, X, [Y, Z])
    assert places(catalog, A.digest) == [Y, Z]


@pytest.mark.parametrize('keepers', [[], [Y], [Z], [Z, 'm/w'], ['m/w']])
def test_a_copy_is_not_released_to_incomplete_ones(catalog, keepers):
    catalog.copies.adopt(A.digest, X)
    catalog.copies.adopt(A.digest, Z if keepers == [Z, 'm/w'] else 'm/v')
    catalog.copies.intend(A.digest, Y)
    before = written(catalog)
    assert not catalog.copies.release(A.digest, X, keepers)
    assert written(catalog) == before


def test_two_copies_cannot_be_released_to_each_other(catalog, rival):
    catalog.copies.adopt(A.digest, X)
    catalog.copies.adopt(A.digest, Y)
    won = []
    before_commit(
        catalog, lambda: won.append(rival.copies.release(A.digest, Y, [X]))
    )
    assert not catalog.copies.release(A.digest, X, [Y])
    assert won == [True]
    assert places(catalog, A.digest) == [X]
