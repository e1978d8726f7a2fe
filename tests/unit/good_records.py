# SPDX-License-Identifier: Apache-2.0
"""A good record of each kind, to be spoilt by tests."""

import dataclasses
import json

from tests import facts
from tmpl_glance_store import objects

A = facts.digest()
HASH = '0' * 64
X = 'node-1.example/0f3c5b5e-0000-4000-8000-000000000000'

#: A record of each kind, with a value of its own in each field.
GOOD = (
    facts.template(format='qcow2', held='it is being inspected'),
    objects.Head(A, 3),
    objects.Claim(A, 'One'),
    objects.Pin(A, 5.0),
    objects.Deletion(A, 6.0),
    objects.Image('One', A, HASH, 2.0, 3.0),
    objects.Placement(X, objects.DRAINING),
    objects.Location(
        X,
        'node-1.example',
        objects.HDD,
        '/var/lib/tmpl',
        1.5,
        size=10,
        free=5,
        health=objects.READ_ONLY,
        reason='EROFS',
    ),
    objects.Copy(A, X, True, 4.0, ('One', 'two'), 'it is a volume'),
    objects.Node(
        'n1',
        'https://[::1]:7480',
        '10.0.0.1:6881',
        '1.0',
        (A,),
        (HASH,),
        'instance',
        'compute-1',
    ),
    objects.History(7, 1, 2.0),
)
KINDS = {type(record).__name__: record for record in GOOD}


def fields(record):
    """Return the fields that are written, by name."""
    return {
        each.name: each for each in dataclasses.fields(record) if each.metadata
    }


def spoilt(record, **changes):
    """Return *record* as JSON with some of its fields changed."""
    raw = {**json.loads(record.to_json()), **changes}
    return json.dumps(raw).encode()
