# SPDX-License-Identifier: Apache-2.0
"""Many writers, on handles of their own."""

from tests.contract.keyvalue import in_threads
from tests.unit.catalog.support import A
from tests.unit.catalog.support import X
from tests.unit.catalog.support import agrees
from tests.unit.catalog.support import image
from tests.unit.catalog.support import template
from tmpl_glance_store import exceptions


def test_no_binding_is_lost_among_threads(make):
    catalogs = [make() for _ in range(2)]
    in_threads(
        *[
            lambda c=catalogs[n % 2], n=n: c.bindings.bind(
                image(f'i{n}'), A, X
            )
            for n in range(8)
        ]
    )
    assert catalogs[0].bindings.template(A.digest).images == tuple(
        f'i{n}' for n in range(8)
    )


def test_an_image_is_bound_to_one_template_among_threads(make):
    catalogs = [make() for _ in range(2)]

    def bind(catalog, number):
        try:
            name = 'ab'[number % 2]
            catalog.bindings.bind(
                image(name=name, token=str(number)), template(name), X
            )
        except exceptions.Duplicate:
            return None
        return number

    def bound_to(found):
        return {template(name).digest: name for name in 'ab'}[found.digest]

    for _ in range(3):
        winners = [
            n
            for n in in_threads(
                *[lambda n=n: bind(catalogs[n // 2 % 2], n) for n in range(6)]
            )
            if n is not None
        ]
        found = catalogs[0].bindings.image('one')
        assert winners
        assert {'ab'[n % 2] for n in winners} == {bound_to(found)}
        assert found.token_hash in {
            image(token=str(n)).token_hash for n in winners
        }
        assert agrees(catalogs[0])
        catalogs[0].bindings.unbind(found)


def test_one_of_many_threads_unbinds_an_image(catalog, rival):
    def unbind(handle):
        try:
            return handle.bindings.unbind(image())
        except exceptions.NotFound:
            return None

    for _ in range(3):
        catalog.bindings.bind(image(), A, X)
        told = in_threads(
            *[lambda c=c: unbind(c) for c in (catalog, rival) * 3]
        )
        assert sorted(told, key=str) == [None] * 5 + [True]


def test_uploads_and_removals_among_threads_leave_an_agreeing_catalog(make):
    def churn(number):
        catalog = make()
        for turn in range(4):
            mine = image(f'i{number}', token=str(number))
            catalog.copies.intend(A.digest, X)
            catalog.bindings.bind(mine, A, X)
            assert agrees_for(catalog, mine)
            if turn == 3 and number % 2:
                return
            if catalog.bindings.unbind(mine):
                catalog.copies.forget(A.digest, X)
                catalog.bindings.forget(A.digest)

    def agrees_for(catalog, mine):
        return mine.image_id in catalog.bindings.template(A.digest).images

    in_threads(*[lambda n=n: churn(n) for n in range(4)])
    catalog = make()
    assert agrees(catalog)
    assert catalog.bindings.template(A.digest).images == ('i1', 'i3')
