# SPDX-License-Identifier: Apache-2.0
"""Copies: proved again, and dropped."""

import dataclasses

from tests.unit.catalog.support import A
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import image
from tests.unit.catalog.support import put
from tests.unit.catalog.support import written
from tmpl_glance_store import objects


def test_a_proof_of_a_copy_is_recorded(catalog, make):
    catalog.bindings.bind(image(), A, X)
    known = objects.Copy(
        A.digest, X, complete=True, verified_at=5.0, published=('one',)
    )
    put(catalog, known)
    make(clock=lambda: 77.0).copies.verified(A.digest, X)
    assert catalog.copies.of(A.digest) == [
        dataclasses.replace(known, verified_at=77.0)
    ]


def test_a_proof_makes_no_copy_complete(catalog):
    catalog.copies.intend(A.digest, X)
    before = written(catalog)
    catalog.copies.verified(A.digest, X)
    catalog.copies.verified(A.digest, Y)
    assert written(catalog) == before


def test_a_proof_does_not_bring_a_forgotten_copy_back(catalog, rival):
    catalog.copies.adopt(A.digest, X)
    before_commit(catalog, lambda: rival.copies.forget(A.digest, X))
    catalog.copies.verified(A.digest, X)
    assert catalog.copies.of(A.digest) == []


def test_a_copy_is_dropped_unless_it_is_there(catalog):
    catalog.copies.adopt(A.digest, X)
    catalog.copies.drop(A.digest, X, lambda: True)
    assert len(catalog.copies.of(A.digest)) == 1
    catalog.copies.drop(A.digest, X, lambda: False)
    assert catalog.copies.of(A.digest) == []
    catalog.copies.drop(A.digest, X, lambda: False)


def test_a_copy_that_is_bound_while_it_is_dropped_stays(catalog, rival):
    catalog.copies.intend(A.digest, X)
    before_commit(catalog, lambda: rival.bindings.bind(image(), A, X))
    catalog.copies.drop(A.digest, X, lambda: False)
    assert [c.complete for c in catalog.copies.of(A.digest)] == [True]
