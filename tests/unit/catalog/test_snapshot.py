# SPDX-License-Identifier: Apache-2.0
"""What everybody asks of the catalog at one moment."""

import dataclasses

import pytest

from tests import facts
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import snapshot as catalog_snapshot

A, B = facts.digest('a'), facts.digest('b')


def node(name: str, *fetching: str) -> objects.Node:
    """Return a live node."""
    return objects.Node(name, f'https://{name}', f'{name}:1', '1', fetching)


@pytest.fixture
def cluster() -> catalog_snapshot.Snapshot:
    """n1 and n2 hold A, and so does n4, which is away; n3 fetches it."""
    return catalog_snapshot.Snapshot(
        templates={
            A: objects.TemplateRecord(facts.template('a'), ('One', 'two')),
            B: objects.TemplateRecord(
                facts.template('b'), ('three',), deleted_at=9.0
            ),
        },
        locations={
            each: objects.Location(each, each[:2], 'ssd', path, 1.0)
            for each, path in {
                'n1/b': '/z',
                'n1/a': '/a',
                'n2/a': '/a',
                'n3/a': '/a',
                'n4/a': '/a',
            }.items()
        },
        copies={
            A: {
                each: objects.Copy(A, each, complete=each != 'n3/a')
                for each in ('n1/a', 'n1/b', 'n2/a', 'n3/a', 'n4/a', 'n5/a')
            },
            B: {'n2/a': objects.Copy(B, 'n2/a', complete=False)},
        },
        nodes={
            'n3': node('n3', A),
            'n2': node('n2', A, B),
            'n1': node('n1'),
        },
    )


def names(nodes: list[objects.Node]) -> list[str]:
    """Return their names."""
    return [each.name for each in nodes]


def test_a_copy_that_is_intended_is_not_complete(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    assert cluster.complete(A) == {'n1/a', 'n1/b', 'n2/a', 'n4/a', 'n5/a'}
    assert cluster.complete(B) == frozenset()
    assert cluster.complete('c' * 64) == frozenset()


def test_holders_live_and_have_a_complete_copy(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    assert names(cluster.holders(A)) == ['n1', 'n2']
    assert names(cluster.holders(A, besides='n1')) == ['n2']
    assert cluster.holders(B) == []


def test_fetchers_are_told_by_name(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    assert names(cluster.fetchers(A)) == ['n2', 'n3']
    assert names(cluster.fetchers(A, besides='n2')) == ['n3']
    assert cluster.fetchers('c' * 64) == []


def test_the_node_of_a_location_that_nobody_knows_is_none(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    assert cluster.node_of('n1/b') == 'n1'
    assert cluster.node_of('n5/a') is None


def test_the_locations_of_a_node_come_by_path(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    assert [each.id for each in cluster.locations_of('n1')] == ['n1/a', 'n1/b']
    assert cluster.locations_of('n9') == []


def test_the_copies_in_a_location_are_of_all_templates(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    assert [each.digest for each in cluster.copies_in('n2/a')] == [A, B]
    assert list(cluster.copies_in('n9')) == []


def test_images_of_a_template_that_goes_live_no_more(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    assert cluster.images() == {'One': A, 'two': A}


def test_a_snapshot_does_not_change(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        cluster.nodes = {}  # type: ignore[misc]


@pytest.mark.parametrize(
    ('complete', 'wanted', 'condition'),
    [
        ('n1/a n2/a', 'n1/a n2/a', 'complete'),
        ('n1/a n2/a n4/a', 'n1/a n2/a', 'complete'),
        ('n1/a', 'n1/a n2/a', 'filling'),
        ('n1/a n1/b', 'n1/a n2/a', 'filling'),
        ('n1/a n2/a n4/a', 'n1/a n2/a n4/a', 'degraded'),
        ('n1/a n4/a', 'n1/a n4/a', 'at risk'),
        ('n4/a', 'n4/a', 'lost'),
        ('n5/a', 'n1/a', 'lost'),
        ('', 'n1/a', 'lost'),
    ],
)
def test_the_condition_of_a_template_is_by_what_is_served_now(
    cluster: catalog_snapshot.Snapshot,
    complete: str,
    wanted: str,
    condition: str,
) -> None:
    now = dataclasses.replace(
        cluster,
        copies={
            A: {
                each: objects.Copy(A, each, complete=True)
                for each in complete.split()
            }
        },
    )
    assert now.condition(A, set(wanted.split())) == condition


def test_a_disk_that_cannot_be_read_serves_nothing(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    away = dataclasses.replace(
        cluster.locations['n2/a'], health=objects.MISSING
    )
    now = dataclasses.replace(
        cluster, locations={**cluster.locations, 'n2/a': away}
    )
    assert names(now.holders(A)) == ['n1']
    assert not now.serves('n2/a')


def test_what_nobody_claims_is_told_from_what_goes(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    free = objects.TemplateRecord(facts.template('a'))
    now = dataclasses.replace(
        cluster, templates={**cluster.templates, A: free}
    )
    assert now.condition(A, set()) == 'unreferenced'
    assert now.condition(B, set()) == 'deleted'
