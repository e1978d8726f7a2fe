# SPDX-License-Identifier: Apache-2.0
"""What each command shows of a small cluster.

n1 and n2 are to hold A, and n1 does; n2 lives and fetches it; n3 is away and
has been drained.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests import facts
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain

TEMPLATE = facts.template('a')
A = TEMPLATE.digest
#: Another whose digest begins as that of A.
SIMILAR = next(
    each
    for each in map(facts.template, map(str, itertools.count()))
    if each.digest[0] == A[0] and each.digest[1] != A[1]
)

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def cluster(catalog: catalog_domain.Catalog) -> None:
    """Fill the catalog."""
    for name in '1', '2', '3':
        catalog.locations.put(
            objects.Location(
                f'n{name}/disk', f'n{name}', 'ssd', f'/{name}', 1.0
            )
        )
    catalog.locations.drain('n3')
    for name, fetching in ('n1', ()), ('n2', (A,)):
        catalog.nodes.announce(
            objects.Node(name, f'https://{name}', f'{name}:1', '1', fetching),
            catalog.nodes.grant(3600),
        )
    catalog.bindings.bind(
        objects.Image('One', A, objects.hash_token(facts.token()), 1.0),
        TEMPLATE,
        'n1/disk',
    )


def test_nodes_are_live_or_away(run: Run) -> None:
    rows = run('node', 'list')
    assert [
        (row['Node'], row['State'], row['Placement'], row['Copies'])
        for row in rows
    ] == [
        ('n1', 'live', 'active', 1),
        ('n2', 'live', 'active', 0),
        ('n3', 'away', 'drained', 0),
    ]
    assert [row['Fetching'] for row in rows] == [0, 1, 0]


def test_locations_tell_what_they_hold(
    run: Run, catalog: catalog_domain.Catalog
) -> None:
    catalog.copies.intend(A, 'n2/disk')
    assert [
        (row['Location'], row['State'], row['Copies'], row['Bytes'])
        for row in run('location', 'list')
    ] == [
        ('n1/disk', 'active', 1, 5),
        ('n2/disk', 'active', 0, 0),
        ('n3/disk', 'draining', 0, 0),
    ]


def test_a_template_fills_until_all_targets_have_it(
    run: Run, catalog: catalog_domain.Catalog
) -> None:
    (row,) = run('template', 'list')
    assert (row['On Targets'], row['Targets'], row['State']) == (
        1,
        2,
        'filling',
    )
    catalog.copies.adopt(A, 'n2/disk')
    # n3 is away: what it has serves nobody.
    catalog.copies.adopt(A, 'n3/disk')
    (row,) = run('template', 'list')
    assert (row['On Targets'], row['Surplus'], row['State']) == (
        2,
        0,
        'complete',
    )


@pytest.mark.parametrize('name', ['One', 'one', A, A[:2]])
def test_a_template_is_shown_by_image_digest_or_its_beginning(
    run: Run, name: str
) -> None:
    shown = run('template', 'show', name)
    assert shown['digest'] == A
    assert shown['images'] == ['One']
    assert shown['fetching'] == ['n2']
    assert sorted(shown['targets']) == ['n1:/1', 'n2:/2']
    (copy,) = shown['copies']
    assert (copy['node'], copy['path'], copy['complete']) == ('n1', '/1', True)


def test_a_copy_in_a_location_that_nobody_knows_is_shown(
    run: Run, catalog: catalog_domain.Catalog
) -> None:
    catalog.copies.adopt(A, 'n9/disk')
    copy = run('template', 'show', A)['copies'][1]
    assert (copy['location'], copy['node'], copy['path']) == (
        'n9/disk',
        None,
        None,
    )


def test_a_name_that_fits_nothing_or_several_is_refused(
    run: Run, catalog: catalog_domain.Catalog
) -> None:
    assert 'no image or template zz' in run('template', 'show', 'zz')
    catalog.bindings.restore(SIMILAR)
    assert 'beginning of 2 digests' in run('template', 'show', A[0])


def test_a_template_is_pinned_and_unpinned(run: Run) -> None:
    assert run('template', 'pin', 'One')['pinned']
    assert not run('template', 'unpin', A[:2])['pinned']


def test_the_layout_is_shares_ranges_or_targets(run: Run) -> None:
    shares = run('layout', 'show')
    assert {row['Node'] for row in shares} == {'n1', 'n2'}
    assert round(sum(row['Share %'] for row in shares)) == 100
    assert len(run('layout', 'show', '--ranges')) == sum(
        row['Ranges'] for row in shares
    )
    for name in 'One', '0x7':
        rows = run('layout', 'show', name)
        assert [row['Rank'] for row in rows] == [1, 2]
        assert {row['Position'] for row in rows} == {f'{7:016x}'}


def test_a_position_has_64_bits(run: Run) -> None:
    assert 'more than 64 bits' in run('layout', 'show', hex(1 << 64))


def test_a_node_is_drained_and_resumed(run: Run) -> None:
    assert [row['State'] for row in run('node', 'drain', 'n1')] == ['draining']
    assert [row['State'] for row in run('node', 'resume', 'n1')] == ['active']
    assert 'no node n9' in run('node', 'drain', 'n9')
