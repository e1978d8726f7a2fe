# SPDX-License-Identifier: Apache-2.0
"""Templates, images and rivals of the tests of the catalog."""

from tmpl_glance_store import objects
from tmpl_glance_store.catalog.contract import Put

NOW = 1000.0
ROOT = '/tmpl/blue/v1'


def template(name='a'):
    return objects.Template(
        digest=name * 64,
        size=5,
        position=7,
        checksum='c',
        hashing_algo='sha512',
        multihash='m',
        piece_size=1 << 18,
        created_at=1.0,
    )


def image(image_id='one', name='a', token='0' * 32):
    return objects.Image(image_id, name * 64, token, 2.0)


A, B = template('a'), template('b')


def before_commit(catalog, action):
    """Let *action* come between what *catalog* read and its next commit."""
    store = catalog.records.store
    commit = store.commit

    def once(*args):
        store.commit = commit
        action()
        return commit(*args)

    store.commit = once


def put(catalog, copy):
    """Write *copy* as an agent does that knows more of it."""
    catalog.records.store.commit(
        [],
        [
            Put(
                f'{ROOT}/copies/{copy.digest}/{copy.location_id}',
                copy.to_json(),
            )
        ],
    )


def place(catalog, location_id, node, **fields):
    catalog.locations.put(
        objects.Location(
            location_id,
            node,
            **{
                'tier': 'ssd',
                'path': f'/{location_id}',
                'weight': 1.0,
                **fields,
            },
        )
    )


def agrees(catalog):
    """Tell whether both ways to ask who refers to a template agree."""
    bound = {}
    for entry in catalog.records.store.list(f'{ROOT}/images/'):
        found = objects.Image.from_json(entry.value)
        bound.setdefault(found.digest, set()).add(found.image_id)
    records = {r.template.digest: r for r in catalog.bindings.templates()}
    return set(bound) <= set(records) and all(
        set(record.images) == bound.get(digest, set())
        and (record.deleted_at is None or not record.images)
        for digest, record in records.items()
    )
