# SPDX-License-Identifier: Apache-2.0
"""Templates, images and rivals of the tests of the catalog."""

from tests import facts
from tmpl_glance_store import objects
from tmpl_glance_store.catalog.contract import Delete
from tmpl_glance_store.catalog.contract import Put

NOW = 1000.0
ROOT = '/tmpl/blue/v2'
STATE = f'{ROOT}/state'
#: Locations of one node, which the catalog of the fixture knows.
X, Y, Z = LOCATIONS = ('n/x', 'n/y', 'n/z')


template = facts.template


def image(image_id='one', name='a', token='0'):
    return objects.Image(
        image_id,
        facts.digest(name),
        objects.hash_token(facts.token(token)),
        2.0,
    )


A, B = template('a'), template('b')


def written(catalog):
    """Return all that is written, but for what is said of locations."""
    return [
        each
        for each in catalog.records.store.list('/')
        if not each.key.startswith(f'{STATE}/locations/')
    ]


def places(catalog, digest):
    """Return the ids of the locations with a copy, intended or complete."""
    return [each.location_id for each in catalog.copies.of(digest)]


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
                f'{STATE}/copies/{copy.location_id}/{copy.digest}',
                copy.to_json(),
            )
        ],
    )


def remove(catalog, name):
    """Lose a record below state/."""
    catalog.records.store.commit([], [Delete(f'{STATE}/{name}')])


def location(location_id, **fields):
    return objects.Location(
        location_id,
        location_id.partition('/')[0],
        **{
            'tier': 'ssd',
            'path': f'/{location_id}',
            'weight': 1.0,
            **fields,
        },
    )


def place(catalog, location_id, **fields):
    catalog.locations.put(location(location_id, **fields))


def place_all(catalog):
    for each in LOCATIONS:
        place(catalog, each)


def node(name, **fields):
    return objects.Node(
        name,
        **{
            'api': f'https://{name}:1',
            'swarm': f'{name}:2',
            'release': '1.0',
            'instance': f'the agent of {name}',
            **fields,
        },
    )


def announce(catalog, name, **fields):
    catalog.nodes.announce(node(name, **fields), catalog.nodes.grant(60))


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
