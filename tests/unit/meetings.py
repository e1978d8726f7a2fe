# SPDX-License-Identifier: Apache-2.0
"""Who comes in the middle of an upload or a removal, and what fails in it."""

from collections.abc import Callable, Iterator

from harness import host as hosts
from harness.host import Host
from tmpl_glance_store import factory
from tmpl_glance_store.catalog import catalog

DATA = hosts.content(1 << 20 | 1)
OTHER = hosts.content(100_000, 'other')


def once(step: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Return an ``on_step`` that acts when *step* is done the first time."""
    left = [step]

    def on_step(name: str) -> None:
        if left == [name]:
            left.clear()
            act()

    return on_step


def fail(error: Exception) -> Callable[..., None]:
    """Return a function that raises *error* whatever it is called with."""

    def act(*_: object, **__: object) -> None:
        raise error

    return act


def fail_if_read() -> Iterator[bytes]:
    """A stream that must not be read."""
    raise AssertionError('the stream was read')
    yield b''


def forget(host: Host, key: str) -> None:
    """Let the catalog lose an entry."""
    store = factory.build_catalog_store(host.catalog_url)
    assert store.commit(
        [], [catalog.contract.Delete(f'/tmpl/{hosts.CLUSTER}/v2/{key}')]
    )
