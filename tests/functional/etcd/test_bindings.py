# SPDX-License-Identifier: Apache-2.0
"""Hosts that bind and unbind at once."""

from collections.abc import Callable

import pytest

from harness.etcd import Etcd
from tests.contract.keyvalue import in_threads
from tests.functional.etcd.support import Connect
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog


def template(name: str = 'a') -> objects.Template:
    """Return a template, whose content does not matter."""
    return objects.Template(
        digest=name * 64,
        size=1,
        position=0,
        checksum='0' * 32,
        hashing_algo='sha512',
        multihash='0' * 128,
        piece_size=1 << 20,
        created_at=0.0,
    )


def image(name: str) -> objects.Image:
    """Return an image of :func:`template`."""
    return objects.Image(name, template().digest, '0' * 32, 0.0)


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
    for n in range(5):
        outcomes = in_threads(
            *[
                lambda c=c, n=n: outcome(
                    lambda: c.bindings.bind(
                        image(f'image{n}'), template(), 'location'
                    )
                )
                for c in catalogs
            ]
        )
        assert outcomes.count(None) == 1
        assert outcomes.count(exceptions.Duplicate) == 3
    record = catalogs[0].bindings.template(template().digest)
    assert record.images == tuple(f'image{n}' for n in range(5))


def test_one_of_many_hosts_unbinds_an_image(
    catalogs: list[catalog.Catalog],
) -> None:
    catalogs[0].bindings.bind(image('one'), template(), 'location')
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
    def churn(host: int) -> None:
        for n in range(8):
            name = image(f'{host}-{n}')
            catalogs[host].bindings.bind(name, template(), f'location{host}')
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
    ] == [f'location{host}' for host in range(4)]


def test_a_template_is_forgotten_or_lives_again_but_not_both(
    catalogs: list[catalog.Catalog],
) -> None:
    digest = template().digest
    first, second, *_ = catalogs
    for n in range(10):
        first.bindings.bind(image('old'), template(), 'location')
        first.bindings.unbind(image('old'))
        first.copies.forget(digest, 'location')
        forgotten, _ = in_threads(
            lambda: first.bindings.forget(digest),
            lambda n=n: second.bindings.bind(
                image(f'new{n}'), template(), 'location'
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
        catalogs[0].bindings.bind(image(name), template(), 'location')
    assert catalogs[1].bindings.template(template().digest).images == tuple(
        names
    )
    for name in names:
        catalogs[1].bindings.unbind(image(name))
    assert catalogs[0].bindings.is_unreferenced(template().digest)
