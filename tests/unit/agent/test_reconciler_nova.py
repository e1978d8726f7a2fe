# SPDX-License-Identifier: Apache-2.0
"""Passes of a compute node."""

from typing import Any

import pytest

from harness.host import add
from tests.unit.agent.bench import DATA
from tests.unit.agent.bench import Bench
from tmpl_glance_store import exceptions
from tmpl_glance_store import imagecache
from tmpl_glance_store.agent import base_files
from tmpl_glance_store.agent import observe


class FakeCache:
    """Nova's image cache, which publishes all that it is given."""

    def __init__(self) -> None:
        self.began: set[str] = set()
        self.outcome = imagecache.Outcome()
        self.runs: list[dict[str, Any]] = []
        self.error: Exception | None = None

    def take_downloads(self, images: Any) -> frozenset[str]:
        """Give the downloads of these images, once."""
        taken = frozenset(self.began & set(images))
        self.began -= taken
        return taken

    def run(self, **what: Any) -> imagecache.Outcome:
        """Publish, or fail."""
        self.runs.append(what)
        if self.error is not None:
            raise self.error
        self.outcome = imagecache.Outcome.of(
            {
                image: imagecache.State(
                    image, each.template.digest, 'published'
                )
                for each in what['held']
                for image in each.images
            }
        )
        return self.outcome


class NovaBench:
    """A node with a fake of Nova's image cache."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.cache = FakeCache()
        self.step = base_files.BaseFiles(
            self.cache, bench.here.catalog.copies.published
        )
        bench.reconciler._base_files = self.step


@pytest.fixture
def nova(bench: Bench) -> NovaBench:
    return NovaBench(bench)


def test_what_is_published_is_recorded_with_its_copy(nova: NovaBench) -> None:
    image = add(nova.bench.there, DATA)
    nova.bench.run()
    nova.bench.run()
    now = nova.bench.view.update()
    (location,) = (
        each
        for each in observe.well(nova.bench.here.store)
        if each.holds(image.digest)
    )
    copy = now.copies[image.digest][location.record.id]
    assert copy.published == (image.image_id,)


def test_an_image_whose_copy_is_under_way_is_arriving(nova: NovaBench) -> None:
    nova.bench.swarm.delivers = False
    image = add(nova.bench.there, DATA)
    nova.bench.run()
    assert nova.cache.runs[-1]['arriving'] == {image.digest: (image.image_id,)}
    assert nova.cache.runs[-1]['failed'] == frozenset()
    nova.bench.transfers.close()


def test_a_fetch_that_pauses_is_told_to_the_boots_that_wait(
    nova: NovaBench,
) -> None:
    nova.bench.swarm.error = exceptions.Unavailable('all peers lie')
    image = add(nova.bench.there, DATA)
    nova.bench.run()
    nova.bench.run()
    assert nova.cache.runs[-1]['failed'] == {image.digest}


def test_whatever_novas_directories_are_like_the_pass_goes_on(
    nova: NovaBench, caplog: pytest.LogCaptureFixture
) -> None:
    nova.cache.error = PermissionError('not yours')
    image = add(nova.bench.there, DATA)
    nova.bench.run()
    assert nova.bench.holders(image.digest) == {'n1', 'n2'}
    assert 'Nothing more is published' in caplog.text


def test_without_the_catalog_the_pass_ends(nova: NovaBench) -> None:
    nova.cache.error = exceptions.Unavailable('away')
    with pytest.raises(exceptions.Unavailable):
        nova.bench.run()


def test_the_next_pass_comes_when_the_cache_wants_it(nova: NovaBench) -> None:
    nova.cache.outcome = imagecache.Outcome(next_change=7)
    assert nova.bench.reconciler.next_change() == 7


def test_a_node_without_nova_has_no_demand(bench: Bench) -> None:
    step = base_files.Step()
    step.take_downloads(bench.view.update(), set())
    assert step.demand == base_files.Demand()
    assert step.next_change() is None
