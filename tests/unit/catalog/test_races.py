# SPDX-License-Identifier: Apache-2.0
"""Two writers: the rival acts between the look and the leap."""

import pytest

from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import image
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects


def test_of_two_bindings_of_an_image_the_first_wins(catalog, rival):
    before_commit(
        catalog, lambda: rival.bindings.bind(image(token='1' * 32), A, 'x')
    )
    with pytest.raises(exceptions.Duplicate):
        catalog.bindings.bind(image(name='b'), B, 'x')
    assert catalog.bindings.image('one').token == '1' * 32
    assert catalog.bindings.template(B.digest) is None
    assert catalog.copies.of(B.digest) == []


def test_two_images_bound_at_once_both_count(catalog, rival):
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, 'y'))
    catalog.bindings.bind(image('one'), A, 'x')
    assert catalog.bindings.template(A.digest).images == ('one', 'two')
    assert len(catalog.copies.of(A.digest)) == 2


def test_a_template_that_is_bound_while_it_is_unbound_lives(catalog, rival):
    catalog.bindings.bind(image('one'), A, 'x')
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, 'x'))
    assert not catalog.bindings.unbind(image('one'))
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_a_template_that_is_unbound_while_it_is_bound_lives(catalog, rival):
    catalog.bindings.bind(image('one'), A, 'x')
    before_commit(catalog, lambda: rival.bindings.unbind(image('one')))
    catalog.bindings.bind(image('two'), A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_of_two_unbindings_only_one_succeeds(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    before_commit(catalog, lambda: rival.bindings.unbind(image()))
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image())
    assert catalog.bindings.is_unreferenced(A.digest)


def test_an_image_that_was_bound_anew_is_not_unbound_with_the_old_token(
    catalog, rival
):
    catalog.bindings.bind(image(), A, 'x')

    def rebind():
        rival.bindings.unbind(image())
        rival.bindings.bind(image(token='1' * 32), A, 'x')

    before_commit(catalog, rebind)
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image())
    assert catalog.bindings.image('one').token == '1' * 32


def test_the_last_of_two_images_unbound_at_once_takes_the_template(
    catalog, rival
):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.bind(image('two'), A, 'x')
    first = []
    before_commit(
        catalog, lambda: first.append(rival.bindings.unbind(image('two')))
    )
    assert catalog.bindings.unbind(image('one'))
    assert first == [False]


def test_a_template_that_is_bound_while_it_is_forgotten_stays(catalog, rival):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.unbind(image('one'))
    catalog.copies.forget(A.digest, 'x')
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, 'x'))
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_a_template_that_is_forgotten_while_it_is_bound_comes_back(
    catalog, rival
):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.unbind(image('one'))
    catalog.copies.forget(A.digest, 'x')
    before_commit(catalog, lambda: rival.bindings.forget(A.digest))
    catalog.bindings.bind(image('two'), A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_a_template_whose_copy_is_adopted_while_it_is_forgotten_stays(
    catalog, rival
):
    catalog.bindings.bind(image(), A, 'x')
    catalog.bindings.unbind(image())
    catalog.copies.forget(A.digest, 'x')
    before_commit(catalog, lambda: rival.copies.adopt(A, 'x'))
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest)


def test_an_adoption_does_not_undo_a_binding(catalog, rival):
    before_commit(catalog, lambda: rival.bindings.bind(image(), A, 'y'))
    catalog.copies.adopt(A, 'x')
    assert catalog.bindings.template(A.digest).images == ('one',)


def test_an_adoption_does_not_undo_an_unbinding(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    before_commit(catalog, lambda: rival.bindings.unbind(image()))
    catalog.copies.adopt(A, 'y')
    assert catalog.bindings.is_unreferenced(A.digest)


def test_who_never_gets_through_gives_up(catalog, rival):
    catalog.records.store.commit = lambda *args: False
    for call in (
        lambda: catalog.bindings.bind(image(), A, 'x'),
        lambda: catalog.copies.adopt(A, 'x'),
    ):
        with pytest.raises(exceptions.Unavailable, match='try again'):
            call()
