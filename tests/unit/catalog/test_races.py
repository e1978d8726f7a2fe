# SPDX-License-Identifier: Apache-2.0
"""Two writers: the rival acts between the look and the leap."""

import dataclasses

import pytest

from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import image
from tests.unit.catalog.support import place
from tests.unit.catalog.support import places
from tests.unit.catalog.support import remove
from tests.unit.catalog.support import written
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects


def test_of_two_bindings_of_an_image_the_first_wins(catalog, rival):
    before_commit(catalog, lambda: rival.bindings.bind(image(token='1'), A, X))
    with pytest.raises(exceptions.Duplicate):
        catalog.bindings.bind(image(name='b'), B, X)
    assert catalog.bindings.image('one') == image(token='1')
    assert catalog.bindings.template(B.digest) is None
    assert catalog.copies.of(B.digest) == []


def test_two_images_bound_at_once_both_count(catalog, rival):
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, Y))
    catalog.bindings.bind(image('one'), A, X)
    assert catalog.bindings.template(A.digest).images == ('one', 'two')
    assert len(catalog.copies.of(A.digest)) == 2


def test_a_template_that_is_bound_while_it_is_unbound_lives(catalog, rival):
    catalog.bindings.bind(image('one'), A, X)
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, X))
    assert not catalog.bindings.unbind(image('one'))
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_a_template_that_is_unbound_while_it_is_bound_lives(catalog, rival):
    catalog.bindings.bind(image('one'), A, X)
    before_commit(catalog, lambda: rival.bindings.unbind(image('one')))
    catalog.bindings.bind(image('two'), A, X)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_of_two_unbindings_only_one_succeeds(catalog, rival):
    catalog.bindings.bind(image(), A, X)
    before_commit(catalog, lambda: rival.bindings.unbind(image()))
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image())
    assert catalog.bindings.is_unreferenced(A.digest)


def test_an_image_that_was_bound_anew_is_not_unbound_with_the_old_token(
    catalog, rival
):
    catalog.bindings.bind(image(), A, X)

    def rebind():
        rival.bindings.unbind(image())
        rival.bindings.bind(image(token='1'), A, X)

    before_commit(catalog, rebind)
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image())
    assert catalog.bindings.image('one') == image(token='1')


def test_the_last_of_two_images_unbound_at_once_takes_the_template(
    catalog, rival
):
    catalog.bindings.bind(image('one'), A, X)
    catalog.bindings.bind(image('two'), A, X)
    first = []
    before_commit(
        catalog, lambda: first.append(rival.bindings.unbind(image('two')))
    )
    assert catalog.bindings.unbind(image('one'))
    assert first == [False]
    assert catalog.records.deletions.get(A.digest) == objects.Deletion(
        A.digest, NOW
    )
    assert catalog.records.heads.get(A.digest).images == 0
    assert catalog.records.claims.list() == []


def test_a_template_that_is_bound_while_it_is_forgotten_stays(catalog, rival):
    catalog.bindings.bind(image('one'), A, X)
    catalog.bindings.unbind(image('one'))
    catalog.copies.forget(A.digest, X)
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, X))
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_a_template_that_is_forgotten_while_it_is_bound_comes_back(
    catalog, rival
):
    catalog.bindings.bind(image('one'), A, X)
    catalog.bindings.unbind(image('one'))
    catalog.copies.forget(A.digest, X)
    before_commit(catalog, lambda: rival.bindings.forget(A.digest))
    catalog.bindings.bind(image('two'), A, X)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_a_copy_that_is_adopted_while_its_template_is_forgotten_stays(
    catalog, rival
):
    """A node writes its copies only; whoever may brings the facts back."""
    catalog.bindings.bind(image(), A, X)
    catalog.bindings.unbind(image())
    catalog.copies.forget(A.digest, X)
    before_commit(catalog, lambda: rival.copies.adopt(A.digest, X))
    assert catalog.bindings.forget(A.digest)
    assert places(catalog, A.digest) == [X]
    rival.bindings.restore(A)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(A)


def test_facts_that_are_restored_while_an_image_is_bound_stay_as_they_are(
    catalog, rival
):
    later = dataclasses.replace(A, created_at=99.0)
    before_commit(catalog, lambda: rival.bindings.bind(image(), A, X))
    catalog.bindings.restore(later)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('one',)
    )


def test_a_pin_does_not_outlive_a_template_that_is_forgotten_meanwhile(
    catalog, rival
):
    catalog.bindings.bind(image(), A, X)

    def forget():
        rival.bindings.unbind(image())
        rival.copies.forget(A.digest, X)
        assert rival.bindings.forget(A.digest)

    before_commit(catalog, forget)
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.pin(A.digest, True)
    assert written(catalog) == []


def test_of_two_bindings_of_an_image_to_one_template_the_last_counts(
    catalog, rival
):
    before_commit(catalog, lambda: rival.bindings.bind(image(token='1'), A, X))
    catalog.bindings.bind(image(), A, Y)
    assert catalog.bindings.image('one') == image()
    assert catalog.records.heads.get(A.digest).images == 1


def test_an_adoption_does_not_undo_a_binding(catalog, rival):
    before_commit(catalog, lambda: rival.bindings.bind(image(), A, Y))
    catalog.copies.adopt(A.digest, X)
    assert catalog.bindings.template(A.digest).images == ('one',)


def test_an_adoption_does_not_undo_an_unbinding(catalog, rival):
    catalog.bindings.bind(image(), A, X)
    before_commit(catalog, lambda: rival.bindings.unbind(image()))
    catalog.copies.adopt(A.digest, Y)
    assert catalog.bindings.is_unreferenced(A.digest)


def test_who_never_gets_through_gives_up(catalog):
    place(catalog, 'm/x')
    catalog.records.store.commit = lambda *args: False
    for call in (
        lambda: catalog.bindings.bind(image(), A, X),
        lambda: catalog.copies.adopt(A.digest, X),
        lambda: catalog.locations.drain('n'),
        catalog.history.accept,
    ):
        with pytest.raises(exceptions.Unavailable, match='try again'):
            call()


def test_facts_that_are_forgotten_while_an_image_is_bound_come_back(
    catalog, rival
):
    """Even where no head tells of it, because it was lost."""
    catalog.bindings.bind(image('one'), A, X)
    catalog.bindings.unbind(image('one'))
    catalog.copies.forget(A.digest, X)
    remove(catalog, f'heads/{A.digest}')
    before_commit(catalog, lambda: rival.bindings.forget(A.digest))
    catalog.bindings.bind(image('two'), A, X)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )
