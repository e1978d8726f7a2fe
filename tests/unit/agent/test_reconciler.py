# SPDX-License-Identifier: Apache-2.0
"""One pass after another: real disks and catalog, a swarm that is told."""

import dataclasses
import functools

import pytest

from harness import host as hosts
from harness.host import Host
from harness.host import add
from tests.unit.agent.bench import DATA
from tests.unit.agent.bench import DELAY
from tests.unit.agent.bench import Bench
from tmpl_glance_store import factory


def test_a_wanted_copy_is_fetched_recorded_and_left_alone(
    bench: Bench,
) -> None:
    image = add(bench.there, DATA)
    assert len(bench.run().actions) == 1
    assert bench.holders(image.digest) == {'n1', 'n2'}
    assert hosts.read(bench.here, image) == DATA
    assert bench.run().actions == ()
    assert bench.host.unfinished() == []
    assert bench.swarm.fetched == [image.digest]


def test_a_copy_that_was_just_fetched_counts_as_proved(bench: Bench) -> None:
    image = add(bench.there, DATA)
    bench.run()
    assert all(
        copy.complete and copy.verified_at
        for copy in bench.here.catalog.copies.of(image.digest)
    )
    assert len(bench.here.catalog.copies.of(image.digest)) == 2


def test_a_pass_without_a_change_writes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(bench.there, DATA)
    bench.run()
    bench.run()
    monkeypatch.setattr(
        bench.here.catalog.records.store,
        'commit',
        lambda *_: pytest.fail('the catalog was written'),
    )
    bench.run()
    monkeypatch.setattr(
        bench.here.catalog.records.store,
        'list',
        lambda *_: pytest.fail('the catalog was read'),
    )
    assert bench.reconciler.run(refresh=False).actions == ()


def test_what_others_fetch_is_seeded_and_nothing_else(bench: Bench) -> None:
    image = add(bench.there, DATA)
    other = add(bench.there, DATA[1:])
    bench.run()
    bench.swarm.seeded.clear()
    lease = bench.announce('n3', image.digest)
    bench.run()
    assert bench.swarm.seeded == {image.digest}
    assert ('127.0.0.1', 2) in bench.swarm.peers[image.digest]
    assert {
        each.digest: each.state for each in bench.report.status().copies
    } == {
        image.digest: 'seeding',
        other.digest: 'complete',
    }
    bench.here.catalog.nodes.revoke(lease)
    bench.run()
    assert bench.swarm.seeded == set()


def test_a_disk_that_is_gone_is_not_forgotten_and_takes_nothing(
    bench: Bench,
) -> None:
    image = add(bench.there, DATA)
    bench.run()
    disk, _ = bench.host.paths
    away = disk.rename(disk.with_name('away'))
    later = add(bench.there, DATA[1:])
    bench.run()
    recorded = {each.location_id for each in bench.recorded(image.digest)}
    assert len(recorded) == 2, 'it is there, and cannot be read'
    assert bench.holders(image.digest) == bench.holders(later.digest) == {'n1'}
    assert not disk.exists()
    disk.mkdir()  # the mount point, empty
    bench.run()
    assert {each.location_id for each in bench.recorded(image.digest)} == (
        recorded
    )
    assert list(disk.iterdir()) == []
    disk.rmdir()
    away.rename(disk)
    bench.run()
    assert bench.holders(image.digest) == {'n1', 'n2'}
    assert bench.holders(later.digest) == {'n1', 'n2'}
    assert bench.swarm.fetched == [image.digest, later.digest]


def test_time_alone_makes_a_node_gone(bench: Bench) -> None:
    lost = Host(
        bench.host.root.parent / 'n3',
        'ssd:ssd:1000000',
        tmpl_store_node='n3',
        tmpl_store_catalog=bench.host.catalog_url,
    )
    lost.parts()
    for each in bench.here, bench.there:
        each.policy._make = functools.partial(
            factory.build_policy,
            dataclasses.replace(bench.host.options.placement, copies=1),
        )
    add(bench.there, DATA)
    assert bench.run().actions == ()
    later = bench.reconciler.next_change()
    assert later == DELAY
    bench.clock.now += DELAY - 1
    bench.reconciler.run(refresh=False)
    assert bench.absences.gone() == set()
    bench.clock.now += 1
    assert bench.absences.gone() == {'n3'}
    bench.announce('n3')
    bench.run()
    assert bench.absences.gone() == set()
    assert bench.reconciler.next_change() is None


def test_a_copy_that_is_here_is_shown_as_complete(bench: Bench) -> None:
    add(bench.there, DATA)
    bench.run()
    assert bench.states() == ['complete']
