# SPDX-License-Identifier: Apache-2.0
"""What everybody asks of the catalog at one moment."""

import dataclasses

import pytest

from tmpl_glance_store import objects
from tmpl_glance_store.catalog import snapshot as catalog_snapshot

A, B = 'a' * 64, 'b' * 64


def template(digest: str) -> objects.Template:
    """Return a template of five bytes."""
    return objects.Template(
        digest=digest,
        size=5,
        position=7,
        checksum='c',
        hashing_algo='sha512',
        multihash='m',
        piece_size=1 << 18,
        created_at=1.0,
    )


def node(name: str, *fetching: str) -> objects.Node:
    """Return a live node."""
    return objects.Node(name, f'https://{name}', f'{name}:1', '1', fetching)


@pytest.fixture
def cluster() -> catalog_snapshot.Snapshot:
    """n1 and n2 hold A, and so does n4, which is away; n3 fetches it."""
    return catalog_snapshot.Snapshot(
        templates={
            A: objects.TemplateRecord(template(A), ('One', 'two')),
            B: objects.TemplateRecord(template(B), ('three',), deleted_at=9.0),
        },
        locations={
            each: objects.Location(each, f'n{each[0]}', 'ssd', path, 1.0)
            for each, path in {
                '1b': '/z',
                '1a': '/a',
                '2': '/a',
                '3': '/a',
                '4': '/a',
            }.items()
        },
        copies={
            A: {
                each: objects.Copy(A, each, complete=each != '3')
                for each in ('1a', '1b', '2', '3', '4', 'unknown')
            },
            B: {'2': objects.Copy(B, '2', complete=False)},
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
    assert cluster.complete(A) == {'1a', '1b', '2', '4', 'unknown'}
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
    assert cluster.node_of('1b') == 'n1'
    assert cluster.node_of('unknown') is None


def test_the_locations_of_a_node_come_by_path(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    assert [each.id for each in cluster.locations_of('n1')] == ['1a', '1b']
    assert cluster.locations_of('n9') == []


def test_the_copies_in_a_location_are_of_all_templates(
    cluster: catalog_snapshot.Snapshot,
) -> None:
    assert [each.digest for each in cluster.copies_in('2')] == [A, B]
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
