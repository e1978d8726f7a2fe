# SPDX-License-Identifier: Apache-2.0
"""What becomes of each type of action, on real disks and a real catalog."""

import shutil

import pytest

from harness.host import add
from harness.host import remove
from tests.unit.agent.bench import DATA
from tests.unit.agent.bench import Bench
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.agent import plan


def tiers(bench: Bench, digest: str) -> list[str]:
    """Return the tiers of the locations of this node that have a copy."""
    return sorted(
        each.record.tier
        for each in bench.here.store.locations
        if each.holds(digest)
    )


def types_of(todo: plan.Plan) -> set[type]:
    return {type(each) for each in todo.actions}


def test_there_is_a_way_for_each_type_of_action(bench: Bench) -> None:
    ways = bench.reconciler._actor._ways
    assert {*ways, plan.Fetch} == set(plan.Action.__args__)


def test_an_upload_moves_to_a_better_disk_and_is_released_there(
    bench: Bench,
) -> None:
    digest = add(bench.here, DATA).digest
    staging, ssd = (
        next(
            each
            for each in bench.here.store.locations
            if each.record.tier == tier
        )
        for tier in (objects.STAGING, objects.SSD)
    )
    if ssd.holds(digest):
        bench.reconciler._actor.act(
            plan.Plan(
                (plan.Move(digest, ssd.record.id, staging.record.id),),
                frozenset(),
            ),
            bench.view.update(),
        )
    assert staging.holds(digest)
    for _ in range(3):
        bench.run()
    bench.announce('n2')
    bench.run()
    assert ssd.holds(digest)


def test_a_copy_that_is_not_on_disk_any_more_is_forgotten_and_fetched(
    bench: Bench,
) -> None:
    digest = add(bench.there, DATA).digest
    bench.run()
    (copy,) = bench.host.copies(digest)
    shutil.rmtree(copy)
    assert types_of(bench.run()) == {plan.Forget, plan.Fetch}
    assert bench.host.copies(digest) == [copy]
    assert bench.swarm.fetched == [digest, digest]


def test_a_copy_that_the_catalog_has_lost_is_adopted(bench: Bench) -> None:
    digest = add(bench.there, DATA).digest
    bench.run()
    (copy,) = bench.host.copies(digest)
    away = copy.rename(copy.with_name('away'))
    bench.swarm.delivers = False
    bench.run()  # forgotten
    bench.transfers.close()
    away.rename(copy)
    assert plan.Adopt in types_of(bench.run())
    assert bench.holders(digest) == {'n1', 'n2'}


def test_a_deleted_template_is_removed_and_not_offered_any_more(
    bench: Bench,
) -> None:
    image = add(bench.there, DATA)
    bench.run()
    remove(bench.there, image)
    assert plan.Remove in types_of(bench.run())
    bench.run()
    assert bench.host.is_clean()
    assert bench.swarm.seeded == set()


@pytest.mark.parametrize(
    'error',
    [
        exceptions.NoSpace('full'),
        exceptions.WriteDenied('read-only'),
        exceptions.CorruptCopy('rotten'),
        OSError('broken'),
    ],
)
def test_an_action_that_a_disk_hinders_harms_only_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    carried_out = []

    def adopt(action: plan.Adopt, now: object) -> None:
        carried_out.append(action.digest)
        if action.digest == 'bad':
            raise error

    actor = bench.reconciler._actor
    monkeypatch.setattr(actor, '_ways', {plan.Adopt: adopt})
    todo = plan.Plan(
        (plan.Adopt('bad', 'a'), plan.Adopt('good', 'a')), frozenset()
    )
    actor.act(todo, bench.view.update())
    assert carried_out == ['bad', 'good']


def test_without_the_catalog_the_pass_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def adopt(action: plan.Adopt, now: object) -> None:
        raise exceptions.Unavailable('away')

    actor = bench.reconciler._actor
    monkeypatch.setattr(actor, '_ways', {plan.Adopt: adopt})
    with pytest.raises(exceptions.Unavailable):
        actor.act(
            plan.Plan((plan.Adopt('a', 'a'),), frozenset()),
            bench.view.update(),
        )


def test_an_action_in_a_location_that_is_not_ours_is_passed_over(
    bench: Bench,
) -> None:
    digest = add(bench.there, DATA).digest
    bench.run()
    actions = (
        plan.Adopt(digest, 'x'),
        plan.Forget(digest, 'x'),
        plan.Move(digest, 'x', 'y'),
        plan.Release(digest, 'x', ('y',)),
        plan.Remove(digest, 'x'),
    )
    bench.reconciler._actor.act(
        plan.Plan(actions, frozenset()), bench.view.update()
    )
    assert bench.holders(digest) == {'n1', 'n2'}
