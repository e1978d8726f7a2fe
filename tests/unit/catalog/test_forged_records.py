# SPDX-License-Identifier: Apache-2.0
"""Records that speak of what is not theirs, and odd keys and values."""

import pytest

from tests import facts
from tests.unit.catalog.spoiling import KEYS
from tests.unit.catalog.spoiling import spoil
from tests.unit.catalog.spoiling import table_of
from tests.unit.catalog.spoiling import with_field
from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import STATE
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tests.unit.catalog.support import image
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog.contract import Put


@pytest.mark.parametrize('key', KEYS)
def test_a_record_at_a_wrong_key_is_a_bad_one(full, key):
    """What a record says of itself is not taken for what it is at."""
    store = full.records.store
    table, name = table_of(full, key)
    wrong = table.at(f'{name}x')
    store.commit([], [Put(wrong, store.get(key).value)])
    before = len(table.list())
    assert set(full.records.bad.reasons()) == {wrong}
    assert f'it speaks of {key}' in full.records.bad.reasons()[wrong]
    store.commit([], [contract.Delete(wrong)])
    assert len(table.list()) == before
    assert full.records.bad.reasons() == {}


def test_a_digest_that_is_none_never_becomes_a_path(full):
    key = f'{STATE}/copies/{X}/../instances'
    full.records.store.commit(
        [],
        [
            Put(
                key,
                b'{"version": 2, "digest": "../instances", "location_id": '
                b'"n/x", "complete": true}',
            )
        ],
    )
    assert '../instances' not in full.copies.in_location(X)
    assert '../instances' not in full.snapshot().copies
    assert set(full.snapshot().bad) == {key}


def test_a_template_that_contradicts_its_digest_is_left_out(full):
    key = f'{STATE}/templates/{A.digest}'
    store = full.records.store
    for name, value in (
        ('size', 64),
        ('root', '0' * 64),
        ('piece_size', 1),
    ):
        store.commit(
            [], [Put(key, with_field(store.get(key).value, name, value))]
        )
        assert A.digest not in full.snapshot().templates
        assert 'contradict each other' in full.snapshot().bad[key]
        store.commit([], [Put(key, A.to_json())])
    assert full.snapshot().bad == {}


def test_a_node_that_speaks_for_another_is_left_out(full):
    record = full.records.copies.get(f'{X}/{A.digest}')
    forged = f'{STATE}/copies/evil/x/{A.digest}'
    location = f'{STATE}/locations/evil/x'
    full.records.store.commit(
        [],
        [
            Put(forged, record.to_json()),
            Put(location, full.records.locations.get(X).to_json()),
        ],
    )
    now = full.snapshot()
    assert set(now.bad) == {forged, location}
    assert now.complete(A.digest) == {X, Y}


def test_a_key_that_is_not_utf8_stops_nobody(full):
    good = full.snapshot()
    bad = b'%s/locations/n/\xff' % STATE.encode()
    value = full.records.store.get(f'{STATE}/locations/{X}').value
    full.records.store._connection().execute(
        'INSERT INTO entries VALUES (CAST(? AS TEXT), ?, 1, NULL)',
        (bad, value),
    )
    now = full.snapshot()
    assert now.locations == good.locations
    assert set(now.bad) == {bad.decode(errors='surrogateescape')}
    assert len(full.locations.all()) == len(good.locations)


@pytest.mark.parametrize('value', ["'text'", '7', '1.5', "'{}'"])
def test_a_value_that_is_not_bytes_stops_nobody(full, value):
    key = f'{STATE}/locations/n/odd'
    full.records.store._connection().execute(
        f'INSERT INTO entries VALUES (?, {value}, 1, NULL)', (key,)
    )
    assert set(full.snapshot().bad) == {key}


def test_a_kind_that_is_not_known_is_no_bad_record(full):
    before = full.snapshot()
    full.records.store.commit([], [Put(f'{STATE}/later/x', b'?')])
    assert full.snapshot() == before


def test_what_is_bad_and_gone_is_named_no_more(full):
    keys = [f'{STATE}/locations/n/odd', f'{STATE}/pins/odd']
    full.records.store.commit([], [Put(key, b'?') for key in keys])
    assert set(full.snapshot().bad) == {*keys}
    full.records.store.commit([], [contract.Delete(keys[0])])
    full.locations.all()
    assert set(full.records.bad.reasons()) == {keys[1]}
    full.records.store.commit([], [contract.Delete(keys[1])])
    assert full.snapshot().bad == {}


def test_a_bad_record_harms_its_own_image_alone(full):
    spoil(full, f'{STATE}/templates/{A.digest}', 'is not JSON')
    for call in (
        lambda: full.bindings.bind(image('new'), A, X),
        lambda: full.bindings.template(A.digest),
        lambda: full.bindings.pin(A.digest, False),
    ):
        with pytest.raises(exceptions.Unavailable):
            call()
    full.bindings.bind(image('five', 'c'), facts.template('c'), X)
    assert full.bindings.image('five').digest == facts.digest('c')
    assert full.bindings.unbind(full.bindings.image('five')) is False
    assert full.bindings.template(B.digest).deleted_at == NOW
