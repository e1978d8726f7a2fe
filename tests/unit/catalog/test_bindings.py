# SPDX-License-Identifier: Apache-2.0
"""Which image is which template."""

import dataclasses

import pytest

from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import ROOT
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import image
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog.contract import Put


def test_a_bound_image_is_found_with_its_template_and_copy(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    assert rival.bindings.image('one') == image()
    assert rival.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('one',)
    )
    assert rival.copies.of(A.digest) == [
        objects.Copy(A.digest, 'x', complete=True, verified_at=NOW)
    ]
    assert not rival.bindings.is_unreferenced(A.digest)


def test_the_keys_are_those_of_the_design(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.locations.put(objects.Location('x', 'n', 'ssd', '/x', 1.0))
    assert [e.key for e in catalog.records.store.list('/')] == [
        f'{ROOT}/copies/{A.digest}/x',
        f'{ROOT}/images/one',
        f'{ROOT}/locations/x',
        f'{ROOT}/templates/{A.digest}',
    ]


def test_what_is_not_stored_is_not_found(catalog):
    with pytest.raises(exceptions.NotFound, match='one'):
        catalog.bindings.image('one')
    assert catalog.bindings.template(A.digest) is None
    assert catalog.bindings.templates() == []
    assert not catalog.bindings.is_unreferenced(A.digest)


def test_a_bound_image_cannot_be_bound_again(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    for again in (image(), image(token='1' * 32), image('ONE')):
        with pytest.raises(exceptions.Duplicate):
            rival.bindings.bind(again, A, 'y')
    with pytest.raises(exceptions.Duplicate):
        rival.bindings.bind(image(name='b'), B, 'x')
    assert catalog.bindings.image('one') == image()
    assert len(catalog.copies.of(A.digest)) == 1
    assert catalog.bindings.template(B.digest) is None


def test_several_images_share_a_template(catalog):
    for image_id in ('two', 'one'):
        catalog.bindings.bind(image(image_id), A, 'x')
    (record,) = catalog.bindings.templates()
    assert record.images == ('one', 'two')
    assert len(catalog.copies.of(A.digest)) == 1


def test_an_image_with_capitals_is_found_in_lower_case(catalog):
    catalog.bindings.bind(image('ONE'), A, 'x')
    found = catalog.bindings.image('one')
    assert found.image_id == 'ONE'
    assert catalog.bindings.unbind(found)
    assert catalog.bindings.template(A.digest).images == ()


def test_a_binding_keeps_the_facts_and_the_pin_of_its_template(catalog):
    catalog.bindings.bind(image(), A, 'x')
    record = objects.TemplateRecord(A, ('one',), pinned=True)
    catalog.records.store.commit(
        [], [Put(f'{ROOT}/templates/{A.digest}', record.to_json())]
    )
    later = dataclasses.replace(A, created_at=99.0)
    catalog.bindings.bind(image('two'), later, 'x')
    assert catalog.bindings.template(A.digest) == dataclasses.replace(
        record, images=('one', 'two')
    )


def test_clusters_on_one_catalog_do_not_see_each_other(make):
    blue, green = make('blue'), make('blue2')
    blue.bindings.bind(image(), A, 'x')
    green.bindings.bind(image(token='1' * 32), A, 'y')
    assert [c.location_id for c in blue.copies.of(A.digest)] == ['x']
    assert green.bindings.unbind(green.bindings.image('one'))
    assert blue.bindings.image('one').token == '0' * 32
    assert blue.bindings.template(A.digest).images == ('one',)


def test_an_unbound_image_is_gone_and_its_template_may_go(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
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
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.bind(image('two'), A, 'x')
    assert not catalog.bindings.unbind(image('one'))
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )
    assert catalog.bindings.image('two')
    assert catalog.bindings.unbind(image('two'))


def test_unbinding_takes_the_right_token(catalog):
    catalog.bindings.bind(image(), A, 'x')
    before = catalog.records.store.list('/')
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image(token='1' * 32))
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image('two'))
    assert catalog.records.store.list('/') == before


def test_unbinding_takes_the_right_template(catalog):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.bind(image('two', 'b'), B, 'x')
    before = catalog.records.store.list('/')
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image('one', 'b'))
    assert catalog.records.store.list('/') == before


def test_an_image_is_unbound_once(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    assert catalog.bindings.unbind(image())
    with pytest.raises(exceptions.NotFound):
        rival.bindings.unbind(image())


def test_an_image_can_be_unbound_whose_template_was_lost(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.copies.forget(A.digest, 'x')
    key = f'{ROOT}/templates/{A.digest}'
    catalog.records.store.commit([], [domain.contract.Delete(key)])
    assert not catalog.bindings.unbind(image())
    assert catalog.records.store.list('/') == []


def test_a_new_binding_revives_a_template(catalog):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.unbind(image('one'))
    catalog.bindings.bind(image('two'), A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )
    assert not catalog.bindings.is_unreferenced(A.digest)


def test_an_image_id_can_be_used_again(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.bindings.unbind(image())
    catalog.bindings.bind(image(name='b', token='1' * 32), B, 'x')
    assert catalog.bindings.image('one').digest == B.digest


def test_an_unreferenced_template_without_copies_is_forgotten(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.bindings.unbind(image())
    assert not catalog.bindings.forget(A.digest)
    catalog.copies.forget(A.digest, 'x')
    assert catalog.bindings.forget(A.digest)
    assert catalog.records.store.list('/') == []
    assert catalog.bindings.forget(A.digest)


def test_a_template_with_images_is_not_forgotten(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.copies.forget(A.digest, 'x')
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest)


def test_an_adopted_template_is_not_forgotten(catalog):
    catalog.copies.adopt(A, 'x')
    catalog.copies.forget(A.digest, 'x')
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest)


def test_pinning_keeps_an_image_that_is_bound_meanwhile(catalog, rival):
    catalog.bindings.bind(image('one'), A, 'x')
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, 'x'))
    assert catalog.bindings.pin(A.digest, True).images == ('one', 'two')
    assert catalog.bindings.template(A.digest).pinned
    assert not catalog.bindings.pin(A.digest, False).pinned


def test_a_template_that_is_being_removed_cannot_be_pinned(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.bindings.unbind(image())
    for digest in A.digest, B.digest:
        with pytest.raises(exceptions.NotFound):
            catalog.bindings.pin(digest, True)
    assert not catalog.bindings.template(A.digest).pinned
