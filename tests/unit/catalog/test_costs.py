# SPDX-License-Identifier: Apache-2.0
"""What a call costs, however much there is."""

import collections

import pytest

from tests import facts
from tests.unit.catalog.support import A
from tests.unit.catalog.support import X
from tests.unit.catalog.support import image
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog import contract

MANY = 300


class Counted:
    """A store that counts the keys and the bytes that pass through it."""

    def __init__(self, store: contract.KeyValue) -> None:
        self.count: collections.Counter[str] = collections.Counter()
        self._store = store

    def get(self, key):
        found = self._store.get(key)
        self._read([found] if found else [None])
        return found

    def get_all(self, keys):
        found = self._store.get_all(keys)
        self._read(found)
        self.count['read'] += len(keys) - len(found)
        return found

    def list(self, prefix):
        found = self._store.list(prefix)
        self._read(found)
        return found

    def commit(self, compares, writes):
        self.count['compared'] += len(compares)
        self.count['written'] += len(writes)
        self.count['bytes'] += sum(
            len(each.value)
            for each in writes
            if isinstance(each, contract.Put)
        )
        return self._store.commit(compares, writes)

    def _read(self, entries):
        self.count['asked'] += 1
        self.count['read'] += len(entries)
        self.count['bytes'] += sum(len(e.value) for e in entries if e)

    def close(self) -> None:
        """Leave that to who has opened it."""


@pytest.fixture
def counted(catalog):
    """The catalog, counted."""
    return domain.Catalog(Counted(catalog.records.store), 'blue')


def cost(counted, call):
    """Return what *call* costs."""
    counted.records.store.count.clear()
    call()
    return dict(counted.records.store.count)


def claim(catalog, many):
    """Let so many more images claim A."""
    head = catalog.records.heads.find(A.digest).record
    ids = [f'{n:05}' for n in range(many)]
    for each in ids:
        catalog.records.store.commit(
            [],
            [
                catalog.records.images.put(image(each)),
                catalog.records.claims.put(objects.Claim(A.digest, each)),
            ],
        )
    catalog.records.store.commit(
        [],
        [
            catalog.records.heads.put(
                objects.Head(A.digest, head.images + many)
            )
        ],
    )


def test_a_claim_costs_the_same_however_many_there_are(catalog, counted):
    bindings = counted.bindings

    def costs(name):
        return [
            cost(counted, lambda: bindings.bind(image(name), A, X)),
            cost(
                counted,
                lambda: bindings.bind(image(name, token='1'), A, X),
            ),
            cost(counted, lambda: bindings.is_claimed(A.digest)),
            cost(counted, lambda: bindings.is_unreferenced(A.digest)),
            cost(counted, lambda: bindings.pin(B_DIGEST, True)),
            cost(counted, lambda: bindings.unbind(image(name, token='1'))),
        ]

    catalog.bindings.bind(image('first'), A, X)
    catalog.bindings.bind(image('other', 'b'), facts.template('b'), X)
    catalog.bindings.pin(B_DIGEST, True)
    # As many digits in the head's count before and after.
    claim(catalog, 100)
    few = costs('new')
    claim(catalog, MANY)
    assert catalog.records.heads.get(A.digest).images == 1 + 100 + MANY
    assert costs('new') == few
    assert all(each['asked'] <= 8 for each in few)
    assert all(each.get('written', 0) <= 6 for each in few)
    assert all(each['bytes'] < 4000 for each in few)


def test_a_forgotten_template_costs_the_same_whatever_else_there_is(
    catalog, counted
):
    def forget(name):
        template = facts.template(name)
        catalog.bindings.bind(image(name, name), template, X)
        catalog.bindings.unbind(image(name, name))
        catalog.copies.forget(template.digest, X)
        return cost(counted, lambda: counted.bindings.forget(template.digest))

    catalog.bindings.bind(image('first'), A, X)
    few = forget('b')
    claim(catalog, MANY)
    assert forget('c') == few


B_DIGEST = facts.digest('b')
