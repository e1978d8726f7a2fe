# SPDX-License-Identifier: Apache-2.0
"""Images that go, and templates that go with the last of them."""

import dataclasses

import pytest

from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tests.unit.catalog.support import image
from tests.unit.catalog.support import remove
from tests.unit.catalog.support import written
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects


def test_an_unbound_image_is_gone_and_its_template_may_go(catalog, rival):
    catalog.bindings.bind(image(), A, X)
    assert catalog.bindings.unbind(image())
    with pytest.raises(exceptions.NotFound):
        rival.bindings.image('one')
    assert rival.bindings.template(A.digest) == objects.TemplateRecord(
        A, (), deleted_at=NOW
    )
    assert rival.bindings.is_unreferenced(A.digest)
    # The copies go before the records do.
    assert len(rival.copies.of(A.digest)) == 1


def test_a_template_stays_until_its_last_image_goes(catalog):
    catalog.bindings.bind(image('one'), A, X)
    catalog.bindings.bind(image('two'), A, X)
    assert not catalog.bindings.unbind(image('one'))
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )
    assert catalog.bindings.image('two')
    assert catalog.bindings.unbind(image('two'))


def test_unbinding_takes_the_right_token(catalog):
    catalog.bindings.bind(image(), A, X)
    before = written(catalog)
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image(token='1'))
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image('two'))
    assert written(catalog) == before


def test_unbinding_takes_the_right_template(catalog):
    catalog.bindings.bind(image('one'), A, X)
    catalog.bindings.bind(image('two', 'b'), B, X)
    before = written(catalog)
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image('one', 'b'))
    assert written(catalog) == before


def test_an_image_is_unbound_once(catalog, rival):
    catalog.bindings.bind(image(), A, X)
    assert catalog.bindings.unbind(image())
    with pytest.raises(exceptions.NotFound):
        rival.bindings.unbind(image())


def test_an_image_can_be_unbound_whose_facts_were_lost(catalog):
    catalog.bindings.bind(image(), A, X)
    catalog.copies.forget(A.digest, X)
    remove(catalog, f'templates/{A.digest}')
    assert catalog.bindings.unbind(image())
    assert catalog.bindings.forget(A.digest)
    assert written(catalog) == []


def test_facts_that_were_lost_come_back_with_a_copy(catalog):
    catalog.bindings.bind(image(), A, X)
    remove(catalog, f'templates/{A.digest}')
    assert catalog.bindings.template(A.digest) is None
    catalog.bindings.restore(A)
    catalog.bindings.restore(dataclasses.replace(A, created_at=99.0))
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('one',)
    )


def test_a_lost_head_lets_nothing_be_deleted_that_is_claimed(catalog):
    for image_id in ('one', 'two', 'three'):
        catalog.bindings.bind(image(image_id), A, X)
    remove(catalog, f'heads/{A.digest}')
    assert not catalog.bindings.unbind(image('one'))
    assert catalog.records.heads.get(A.digest).images == 2
    remove(catalog, f'heads/{A.digest}')
    catalog.bindings.bind(image('two', token='1'), A, X)
    assert catalog.records.heads.get(A.digest).images == 2
    assert not catalog.bindings.unbind(image('two', token='1'))
    assert catalog.bindings.unbind(image('three'))


def test_a_new_binding_revives_a_template(catalog):
    catalog.bindings.bind(image('one'), A, X)
    catalog.bindings.unbind(image('one'))
    catalog.bindings.bind(image('two'), A, X)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )
    assert not catalog.bindings.is_unreferenced(A.digest)


def test_an_image_id_can_be_used_again(catalog):
    catalog.bindings.bind(image(), A, X)
    catalog.bindings.unbind(image())
    catalog.bindings.bind(image(name='b', token='1'), B, X)
    assert catalog.bindings.image('one').digest == B.digest


def test_an_unreferenced_template_without_copies_is_forgotten(catalog):
    catalog.bindings.bind(image(), A, X)
    catalog.bindings.unbind(image())
    assert not catalog.bindings.forget(A.digest)
    catalog.copies.forget(A.digest, X)
    assert catalog.bindings.forget(A.digest)
    assert written(catalog) == []
    assert catalog.bindings.forget(A.digest)


def test_a_template_with_images_is_not_forgotten(catalog):
    catalog.bindings.bind(image(), A, X)
    catalog.copies.forget(A.digest, X)
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest)


def test_a_restored_template_is_not_forgotten(catalog):
    catalog.bindings.restore(A)
    # Nobody has removed an image: it is kept for the operator.
    assert not catalog.bindings.is_unreferenced(A.digest)
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(A)
