# SPDX-License-Identifier: Apache-2.0
"""Which image is which template."""

import dataclasses

import pytest

from tests import facts
from tests.unit.catalog.support import LOCATIONS
from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import ROOT
from tests.unit.catalog.support import STATE
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tests.unit.catalog.support import announce
from tests.unit.catalog.support import before_commit
from tests.unit.catalog.support import image
from tests.unit.catalog.support import place
from tests.unit.catalog.support import places
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects


def test_a_bound_image_is_found_with_its_template_and_copy(catalog, rival):
    catalog.bindings.bind(image(), A, X)
    assert rival.bindings.image('one') == image()
    assert rival.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('one',)
    )
    assert rival.copies.of(A.digest) == [
        objects.Copy(A.digest, X, complete=True, verified_at=NOW)
    ]
    assert not rival.bindings.is_unreferenced(A.digest)


def test_the_keys_are_those_of_the_documentation(catalog):
    catalog.bindings.bind(image('One'), A, X)
    catalog.bindings.pin(A.digest, True)
    catalog.bindings.bind(image('two', 'b'), B, X)
    catalog.bindings.unbind(image('two', 'b'))
    catalog.history.begin()
    announce(catalog, 'n')
    place(catalog, 'm/x')
    catalog.locations.drain('n')
    assert [e.key for e in catalog.records.store.list('/')] == sorted(
        [
            f'{ROOT}/images/one',
            f'{STATE}/claims/{A.digest}/one',
            f'{STATE}/copies/{X}/{A.digest}',
            f'{STATE}/copies/{X}/{B.digest}',
            f'{STATE}/deletions/{B.digest}',
            f'{STATE}/heads/{A.digest}',
            f'{STATE}/heads/{B.digest}',
            f'{STATE}/history/catalog',
            f'{STATE}/locations/m/x',
            *[f'{STATE}/locations/{each}' for each in LOCATIONS],
            f'{STATE}/nodes/n',
            f'{STATE}/pins/{A.digest}',
            *[f'{STATE}/placement/{each}' for each in LOCATIONS],
            f'{STATE}/templates/{A.digest}',
            f'{STATE}/templates/{B.digest}',
        ]
    )
    # Nobody who reads them can make a location's URL.
    assert not [
        e
        for e in catalog.records.store.list('/')
        if facts.token().encode() in e.value
    ]


def test_what_is_not_stored_is_not_found(catalog):
    with pytest.raises(exceptions.NotFound, match='one'):
        catalog.bindings.image('one')
    assert catalog.bindings.template(A.digest) is None
    assert catalog.bindings.templates() == []
    assert not catalog.bindings.is_unreferenced(A.digest)


def test_an_image_is_bound_again_to_the_same_template_only(catalog, rival):
    """Who bound it first has died before Glance noted the location."""
    catalog.bindings.bind(image(), A, X)
    rival.bindings.bind(image(token='1'), A, Y)
    assert catalog.bindings.image('one') == image(token='1')
    assert places(catalog, A.digest) == [X, Y]
    assert catalog.records.heads.get(A.digest).images == 1
    before = catalog.records.store.list('/')
    with pytest.raises(exceptions.Duplicate):
        rival.bindings.bind(image(name='b'), B, X)
    assert catalog.records.store.list('/') == before
    # The first URL was never Glance's.
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image())
    assert catalog.bindings.unbind(image(token='1'))


@pytest.mark.parametrize('name', 'ab')
def test_ids_that_differ_in_case_only_are_not_two_images(catalog, name):
    catalog.bindings.bind(image('one'), A, X)
    before = catalog.records.store.list('/')
    with pytest.raises(exceptions.Duplicate, match='one is stored already'):
        catalog.bindings.bind(image('ONE', name), facts.template(name), X)
    assert catalog.records.store.list('/') == before


def test_several_images_share_a_template(catalog):
    for image_id in ('two', 'one'):
        catalog.bindings.bind(image(image_id), A, X)
    (record,) = catalog.bindings.templates()
    assert record.images == ('one', 'two')
    assert len(catalog.copies.of(A.digest)) == 1


def test_an_image_with_capitals_is_found_in_lower_case(catalog):
    catalog.bindings.bind(image('ONE'), A, X)
    found = catalog.bindings.image('one')
    assert found.image_id == 'ONE'
    assert catalog.bindings.unbind(found)
    assert catalog.bindings.template(A.digest).images == ()


def test_a_binding_keeps_the_facts_and_the_pin_of_its_template(catalog):
    catalog.bindings.bind(image(), A, X)
    catalog.bindings.pin(A.digest, True)
    later = dataclasses.replace(A, created_at=99.0)
    catalog.bindings.bind(image('two'), later, X)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('one', 'two'), pinned=True
    )


def test_clusters_on_one_catalog_do_not_see_each_other(make):
    blue, green = make('blue'), make('blue2')
    place(blue, X)
    blue.bindings.bind(image(), A, X)
    green.bindings.bind(image(token='1'), A, Y)
    assert places(blue, A.digest) == [X]
    assert green.bindings.unbind(green.bindings.image('one'))
    assert blue.bindings.image('one') == image()
    assert blue.bindings.template(A.digest).images == ('one',)


def test_pinning_keeps_an_image_that_is_bound_meanwhile(catalog, rival):
    catalog.bindings.bind(image('one'), A, X)
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, X))
    assert catalog.bindings.pin(A.digest, True).images == ('one', 'two')
    assert catalog.bindings.template(A.digest).pinned
    assert not catalog.bindings.pin(A.digest, False).pinned


def test_a_template_that_is_being_removed_cannot_be_pinned(catalog):
    catalog.bindings.bind(image(), A, X)
    catalog.bindings.unbind(image())
    for digest in A.digest, B.digest:
        with pytest.raises(exceptions.NotFound):
            catalog.bindings.pin(digest, True)
    assert not catalog.bindings.template(A.digest).pinned
