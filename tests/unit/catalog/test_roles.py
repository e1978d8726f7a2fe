# SPDX-License-Identifier: Apache-2.0
"""What each user of etcd may do; tests/functional/etcd tries it there."""

import pytest

from tests import facts
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import records as catalog_records
from tmpl_glance_store.catalog import roles

STATE = '/tmpl/blue/v2/state'
A = facts.digest()


def may(grants: list[roles.Grant], permission: str, key: str) -> bool:
    """Tell whether *grants* hold *permission* for *key*, as etcd does."""
    return any(
        permission in grant.permission
        and (
            grant.key <= key < grant.range_end
            if grant.range_end
            else grant.key == key
        )
        for grant in grants
    )


@pytest.fixture
def tables() -> catalog_records.Records:
    """The keys of the cluster."""
    return catalog_records.Records(None, 'blue')  # type: ignore[arg-type]


def test_glance_may_do_anything_in_its_cluster() -> None:
    assert roles.glance('blue') == [
        roles.Grant('readwrite', '/tmpl/blue/v2/', '/tmpl/blue/v20')
    ]


def test_who_only_looks_reads_the_state() -> None:
    assert roles.reader('blue') == [
        roles.Grant('read', f'{STATE}/', f'{STATE}0')
    ]


def test_a_node_writes_its_own_records_and_reads_the_state(
    tables: catalog_records.Records,
) -> None:
    grants = roles.node('blue', 'n1')

    def rights(key: str) -> tuple[bool, bool]:
        return may(grants, 'read', key), may(grants, 'write', key)

    for node, own in ('n1', True), ('n10', False), ('n', False), ('n2', False):
        copy = objects.Copy(A, f'{node}/x', complete=True)
        for key in (
            tables.nodes.at(node),
            tables.locations.at(f'{node}/x'),
            tables.copies.key(copy),
        ):
            assert rights(key) == (True, own)
    for table in (
        tables.history,
        tables.templates,
        tables.heads,
        tables.claims,
        tables.deletions,
        tables.pins,
        tables.placement,
    ):
        for name in (A, 'n1', 'n1/x'):
            assert rights(table.at(name)) == (True, False)
    assert rights(tables.images.at('one')) == (False, False)


@pytest.mark.parametrize('name', ['', 'N1', 'n1/', '../n1', 'n1/x', 'n\n'])
def test_a_name_that_would_be_a_right_to_other_keys_is_refused(
    name: str,
) -> None:
    for call in (
        lambda: roles.node('blue', name),
        lambda: roles.node(name, 'n1'),
        lambda: roles.glance(name),
        lambda: roles.reader(name),
    ):
        with pytest.raises(exceptions.BadConfiguration):
            call()
