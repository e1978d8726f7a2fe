# SPDX-License-Identifier: Apache-2.0
"""Which fetches begin, in which room, and what is left of them."""

import pathlib

import pytest

from harness import host as hosts
from harness.host import add
from harness.host import remove
from tests.unit.agent.bench import DATA
from tests.unit.agent.bench import LONG
from tests.unit.agent.bench import Bench
from tmpl_glance_store import objects
from tmpl_glance_store.agent import observe
from tmpl_glance_store.catalog import contract


def test_a_fetch_waits_for_a_live_holder(bench: Bench) -> None:
    lease = bench.announce('n1')
    bench.here.catalog.nodes.revoke(lease)
    image = add(bench.there, DATA)
    bench.run()
    assert bench.holders(image.digest) == {'n1'}
    assert bench.states() == ['waiting']
    bench.announce('n1')
    bench.run()
    assert bench.holders(image.digest) == {'n1', 'n2'}


def test_fetches_at_a_time_are_limited(bench: Bench) -> None:
    bench.swarm.delivers = False
    for number in range(5):
        add(bench.there, DATA[number:])
    for _ in range(3):
        bench.run()
        assert len(bench.transfers) == 2
    assert len(bench.states()) == 3
    bench.transfers.close()


def test_a_template_that_is_not_wanted_any_more_leaves_nothing(
    bench: Bench,
) -> None:
    bench.swarm.delivers = False
    image = add(bench.there, DATA)
    bench.run()
    assert bench.swarm.began.wait(LONG)
    assert len(bench.host.unfinished()) == 1
    remove(bench.there, image)
    bench.run()
    bench.transfers.close()
    bench.run()
    assert bench.host.is_clean()
    assert bench.source.is_clean()


def test_a_template_that_goes_at_the_end_of_its_fetch_does_not_come_back(
    bench: Bench,
) -> None:
    image = add(bench.there, DATA)

    def deleted_meanwhile() -> None:
        bench.swarm.before_end = lambda: None
        remove(bench.there, image)

    bench.swarm.before_end = deleted_meanwhile
    bench.run()
    bench.run()
    assert bench.host.is_clean()
    assert bench.swarm.seeded == set()


def test_a_template_that_is_only_pinned_is_fetched_and_stays(
    bench: Bench,
) -> None:
    image = add(bench.there, DATA)
    bindings = bench.here.catalog.bindings
    bindings.pin(image.digest, True)
    bindings.unbind(bindings.image(image.image_id))
    records = bench.here.catalog.records
    key = records.deletions.at(image.digest)
    records.store.commit([], [contract.Delete(key)])
    bench.run()
    assert bench.holders(image.digest) == {'n1', 'n2'}
    assert bench.run().actions == ()


def test_two_fetches_for_the_room_of_one_do_not_hinder_each_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = len(DATA) + 1000
    disk = next(
        each
        for each in bench.here.store.locations
        if each.record.tier == objects.SSD
    )

    def has_room(size: int) -> bool:
        used = sum(
            file.stat().st_blocks * 512
            for file in bench.host.paths[0].rglob('image')
        )
        return used + size <= room

    monkeypatch.setattr(disk, 'has_room', has_room)
    images = [add(bench.there, DATA[number:]) for number in range(2)]
    wanted = min(each.digest for each in images)
    for _ in range(3):
        bench.run()
    assert bench.swarm.fetched == [wanted]
    assert [each.name for each in bench.host.copies()] == [wanted]
    assert bench.host.unfinished() == []


def test_a_fetch_that_has_begun_keeps_its_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = sorted(
        (DATA[number:] for number in range(2)),
        key=hosts.digest_of,
        reverse=True,
    )
    disk = next(
        each
        for each in bench.here.store.locations
        if each.record.tier == objects.SSD
    )
    # Of what is there already, half has arrived.
    monkeypatch.setattr(disk, 'has_room', lambda size: size <= 0.6 * len(DATA))
    monkeypatch.setattr(observe, 'bytes_on_disk', lambda path: len(DATA) // 2)
    bench.swarm.delivers = False
    first = add(bench.there, contents[0])
    disk.paths.fetch(first.digest)
    pathlib.Path(disk.paths.fetch(first.digest)).mkdir()
    todo = bench.run()
    assert [each.digest for each in todo.actions] == [first.digest]
    add(bench.there, contents[1])
    todo = bench.run()
    assert [each.digest for each in todo.actions] == [first.digest]
    bench.transfers.close()
