# SPDX-License-Identifier: Apache-2.0
"""Hosts that bind and unbind at once."""

import dataclasses
from collections.abc import Callable

import pytest

from harness.etcd import Etcd
from tests import facts
from tests.contract.keyvalue import in_threads
from tests.functional.etcd.support import Connect
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog


def template() -> objects.Template:
    """Return a template, whose content does not matter."""
    return facts.template()


def image(name: str, token: str = '0') -> objects.Image:
    """Return an image of :func:`template`."""
    token_hash = objects.hash_token(facts.token(token))
    return objects.Image(name, template().digest, token_hash, 0.0)


def place(catalogs: list[catalog.Catalog], *ids: str) -> None:
    """Let there be locations."""
    for each in ids:
        catalogs[0].locations.put(
            objects.Location(each, each.partition('/')[0], 'ssd', '/d', 1.0)
        )


@pytest.fixture
def catalogs(
    shared: Etcd, connect: Connect, request: pytest.FixtureRequest
) -> list[catalog.Catalog]:
    """Four hosts of one cluster."""
    return [
        catalog.Catalog(connect(shared.url), request.node.name)
        for _ in range(4)
    ]


def outcome(call: Callable[[], object]) -> object:
    """Return the result of *call*, or its error."""
    try:
        return call()
    except exceptions.TmplError as exc:
        return type(exc)


def test_one_of_many_hosts_binds_an_image(
    catalogs: list[catalog.Catalog],
) -> None:
    """To one of two templates; two hosts upload each of them."""
    other = facts.template('b')
    for n in range(5):
        both = (
            [image(f'image{n}'), template()],
            [
                dataclasses.replace(image(f'image{n}'), digest=other.digest),
                other,
            ],
        )
        outcomes = in_threads(
            *[
                lambda c=c, what=both[i % 2]: outcome(
                    lambda: c.bindings.bind(*what, 'n/location')
                )
                for i, c in enumerate(catalogs)
            ]
        )
        assert outcomes.count(exceptions.Duplicate) == 2
        assert outcomes.count(None) == 2
        assert outcomes[0] == outcomes[2] != outcomes[1] == outcomes[3]
        record = catalogs[0].bindings.template(
            catalogs[0].bindings.image(f'image{n}').digest
        )
        assert f'image{n}' in record.images
    images = [
        image_id
        for record in catalogs[0].bindings.templates()
        for image_id in record.images
    ]
    assert sorted(images) == [f'image{n}' for n in range(5)]


def test_many_hosts_bind_an_image_to_the_same_template(
    catalogs: list[catalog.Catalog],
) -> None:
    for n in range(5):
        outcomes = in_threads(
            *[
                lambda c=c, n=n, i=i: outcome(
                    lambda: c.bindings.bind(
                        image(f'image{n}', str(i)), template(), 'n/location'
                    )
                )
                for i, c in enumerate(catalogs)
            ]
        )
        assert outcomes == [None] * 4
        bound = catalogs[0].bindings.image(f'image{n}')
        assert bound in [image(f'image{n}', str(i)) for i in range(4)]
    record = catalogs[0].bindings.template(template().digest)
    assert record.images == tuple(f'image{n}' for n in range(5))


def test_one_of_many_hosts_unbinds_an_image(
    catalogs: list[catalog.Catalog],
) -> None:
    catalogs[0].bindings.bind(image('one'), template(), 'n/location')
    outcomes = in_threads(
        *[
            lambda c=c: outcome(lambda: c.bindings.unbind(image('one')))
            for c in catalogs
        ]
    )
    assert outcomes.count(True) == 1
    assert outcomes.count(exceptions.NotFound) == 3
    assert catalogs[0].bindings.is_unreferenced(template().digest)


def test_hosts_that_bind_and_unbind_at_once_lose_no_image(
    catalogs: list[catalog.Catalog],
) -> None:
    place(catalogs, *(f'n{host}/location' for host in range(4)))

    def churn(host: int) -> None:
        for n in range(8):
            name = image(f'{host}-{n}')
            catalogs[host].bindings.bind(name, template(), f'n{host}/location')
            if n % 2:
                catalogs[host].bindings.unbind(name)

    in_threads(*[lambda h=host: churn(h) for host in range(4)])
    record = catalogs[0].bindings.template(template().digest)
    assert record.images == tuple(
        f'{host}-{n}' for host in range(4) for n in range(0, 8, 2)
    )
    assert record.deleted_at is None
    assert not catalogs[0].bindings.forget(template().digest)
    assert [
        copy.location_id for copy in catalogs[0].copies.of(template().digest)
    ] == [f'n{host}/location' for host in range(4)]


def test_a_template_is_forgotten_or_lives_again_but_not_both(
    catalogs: list[catalog.Catalog],
) -> None:
    digest = template().digest
    first, second, *_ = catalogs
    place(catalogs, 'n/location')
    for n in range(10):
        first.bindings.bind(image('old'), template(), 'n/location')
        first.bindings.unbind(image('old'))
        first.copies.forget(digest, 'n/location')
        forgotten, _ = in_threads(
            lambda: first.bindings.forget(digest),
            lambda n=n: second.bindings.bind(
                image(f'new{n}'), template(), 'n/location'
            ),
        )
        record = first.bindings.template(digest)
        assert record is not None
        assert record.deleted_at is None
        assert f'new{n}' in record.images
        assert forgotten in (True, False)
        for image_id in record.images:
            first.bindings.unbind(image(image_id))


def test_a_template_of_many_images_takes_no_larger_transactions(
    catalogs: list[catalog.Catalog],
) -> None:
    # etcd takes 128 operations at most.
    names = [f'{n:03}' for n in range(150)]
    for name in names:
        catalogs[0].bindings.bind(image(name), template(), 'n/location')
    assert catalogs[1].bindings.template(template().digest).images == tuple(
        names
    )
    for name in names:
        catalogs[1].bindings.unbind(image(name))
    assert catalogs[0].bindings.is_unreferenced(template().digest)
