# SPDX-License-Identifier: Apache-2.0
import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.contract.keyvalue import in_threads
from tests.contract.keyvalue import settle
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog import sqlite
from tmpl_glance_store.catalog.contract import Compare
from tmpl_glance_store.catalog.contract import Put

NOW = 1000.0
ROOT = '/tmpl/blue/v1'


def template(name='a'):
    return objects.Template(
        digest=name * 64,
        size=5,
        position=7,
        checksum='c',
        hashing_algo='sha512',
        multihash='m',
        piece_size=1 << 18,
        created_at=1.0,
    )


def image(image_id='one', name='a', token='0' * 32):
    return objects.Image(image_id, name * 64, token, 2.0)


A, B = template('a'), template('b')


@pytest.fixture
def make(tmp_path):
    """Open catalogs on handles of their own, all on the same data."""
    opened = []

    def make(cluster='blue', clock=lambda: NOW):
        store = sqlite.SQLiteKeyValue(f'sqlite:///{tmp_path}/c.sqlite')
        opened.append(domain.Catalog(store, cluster, clock))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def catalog(make):
    return make()


@pytest.fixture
def rival(make):
    """The catalog as another process sees it."""
    return make()


def before_commit(catalog, action):
    """Let *action* come between what *catalog* read and its next commit."""
    store = catalog.records.store
    commit = store.commit

    def once(*args):
        store.commit = commit
        action()
        return commit(*args)

    store.commit = once


def put(catalog, copy):
    """Write *copy* as an agent does that knows more of it."""
    catalog.records.store.commit(
        [],
        [
            Put(
                f'{ROOT}/copies/{copy.digest}/{copy.location_id}',
                copy.to_json(),
            )
        ],
    )


# Binding


def test_a_bound_image_is_found_with_its_template_and_copy(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    assert rival.bindings.image('one') == image()
    assert rival.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('one',)
    )
    assert rival.copies.of(A.digest) == [
        objects.Copy(A.digest, 'x', complete=True, verified_at=NOW)
    ]
    assert not rival.bindings.is_unreferenced(A.digest)


def test_the_keys_are_those_of_the_design(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.locations.put(objects.Location('x', 'n', 'ssd', '/x', 1.0))
    assert [e.key for e in catalog.records.store.list('/')] == [
        f'{ROOT}/copies/{A.digest}/x',
        f'{ROOT}/images/one',
        f'{ROOT}/locations/x',
        f'{ROOT}/templates/{A.digest}',
    ]


def test_what_is_not_stored_is_not_found(catalog):
    with pytest.raises(exceptions.NotFound, match='one'):
        catalog.bindings.image('one')
    assert catalog.bindings.template(A.digest) is None
    assert catalog.bindings.templates() == []
    assert not catalog.bindings.is_unreferenced(A.digest)


def test_a_bound_image_cannot_be_bound_again(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    for again in (image(), image(token='1' * 32), image('ONE')):
        with pytest.raises(exceptions.Duplicate):
            rival.bindings.bind(again, A, 'y')
    with pytest.raises(exceptions.Duplicate):
        rival.bindings.bind(image(name='b'), B, 'x')
    assert catalog.bindings.image('one') == image()
    assert len(catalog.copies.of(A.digest)) == 1
    assert catalog.bindings.template(B.digest) is None


def test_several_images_share_a_template(catalog):
    for image_id in ('two', 'one'):
        catalog.bindings.bind(image(image_id), A, 'x')
    (record,) = catalog.bindings.templates()
    assert record.images == ('one', 'two')
    assert len(catalog.copies.of(A.digest)) == 1


def test_an_image_with_capitals_is_found_in_lower_case(catalog):
    catalog.bindings.bind(image('ONE'), A, 'x')
    found = catalog.bindings.image('one')
    assert found.image_id == 'ONE'
    assert catalog.bindings.unbind(found)
    assert catalog.bindings.template(A.digest).images == ()


def test_a_binding_keeps_the_facts_and_the_pin_of_its_template(catalog):
    catalog.bindings.bind(image(), A, 'x')
    record = objects.TemplateRecord(A, ('one',), pinned=True)
    catalog.records.store.commit(
        [], [Put(f'{ROOT}/templates/{A.digest}', record.to_json())]
    )
    later = dataclasses.replace(A, created_at=99.0)
    catalog.bindings.bind(image('two'), later, 'x')
    assert catalog.bindings.template(A.digest) == dataclasses.replace(
        record, images=('one', 'two')
    )


def test_clusters_on_one_catalog_do_not_see_each_other(make):
    blue, green = make('blue'), make('blue2')
    blue.bindings.bind(image(), A, 'x')
    green.bindings.bind(image(token='1' * 32), A, 'y')
    assert [c.location_id for c in blue.copies.of(A.digest)] == ['x']
    assert green.bindings.unbind(green.bindings.image('one'))
    assert blue.bindings.image('one').token == '0' * 32
    assert blue.bindings.template(A.digest).images == ('one',)


# Unbinding


def test_an_unbound_image_is_gone_and_its_template_may_go(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    assert catalog.bindings.unbind(image())
    with pytest.raises(exceptions.NotFound):
        rival.bindings.image('one')
    assert rival.bindings.template(A.digest) == objects.TemplateRecord(
        A, (), deleted_at=NOW
    )
    assert rival.bindings.is_unreferenced(A.digest)
    # The copies go before the records do.
    assert len(rival.copies.of(A.digest)) == 1


def test_a_template_stays_until_its_last_image_goes(catalog):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.bind(image('two'), A, 'x')
    assert not catalog.bindings.unbind(image('one'))
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )
    assert catalog.bindings.image('two')
    assert catalog.bindings.unbind(image('two'))


def test_unbinding_takes_the_right_token(catalog):
    catalog.bindings.bind(image(), A, 'x')
    before = catalog.records.store.list('/')
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image(token='1' * 32))
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image('two'))
    assert catalog.records.store.list('/') == before


def test_unbinding_takes_the_right_template(catalog):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.bind(image('two', 'b'), B, 'x')
    before = catalog.records.store.list('/')
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image('one', 'b'))
    assert catalog.records.store.list('/') == before


def test_an_image_is_unbound_once(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    assert catalog.bindings.unbind(image())
    with pytest.raises(exceptions.NotFound):
        rival.bindings.unbind(image())


def test_an_image_can_be_unbound_whose_template_was_lost(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.copies.forget(A.digest, 'x')
    key = f'{ROOT}/templates/{A.digest}'
    catalog.records.store.commit([], [domain.contract.Delete(key)])
    assert not catalog.bindings.unbind(image())
    assert catalog.records.store.list('/') == []


def test_a_new_binding_revives_a_template(catalog):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.unbind(image('one'))
    catalog.bindings.bind(image('two'), A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )
    assert not catalog.bindings.is_unreferenced(A.digest)


def test_an_image_id_can_be_used_again(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.bindings.unbind(image())
    catalog.bindings.bind(image(name='b', token='1' * 32), B, 'x')
    assert catalog.bindings.image('one').digest == B.digest


# Copies


def test_an_intended_copy_is_not_complete_until_it_is_bound(catalog):
    catalog.copies.intend(A.digest, 'x')
    assert catalog.copies.of(A.digest) == [
        objects.Copy(A.digest, 'x', complete=False)
    ]
    assert catalog.bindings.template(A.digest) is None
    catalog.bindings.bind(image(), A, 'x')
    assert [c.complete for c in catalog.copies.of(A.digest)] == [True]


def test_an_intention_leaves_a_known_copy_as_it_is(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    before = catalog.records.store.list('/')
    rival.copies.intend(A.digest, 'x')
    assert catalog.records.store.list('/') == before


def test_copies_are_told_by_template_and_by_location(catalog):
    like_a = A.digest[:-1] + 'b'
    for digest, location in (
        (A.digest, 'x'),
        (A.digest, 'y'),
        (B.digest, 'x'),
        (B.digest, 'x2'),
        (like_a, 'x2'),
    ):
        catalog.copies.intend(digest, location)
    assert [c.location_id for c in catalog.copies.of(A.digest)] == ['x', 'y']
    assert {
        d: c.location_id for d, c in catalog.copies.in_location('x').items()
    } == {
        A.digest: 'x',
        B.digest: 'x',
    }
    assert list(catalog.copies.in_location('y')) == [A.digest]
    assert catalog.copies.in_location('z') == {}


def test_a_forgotten_copy_is_gone_alone(catalog):
    catalog.copies.intend(A.digest, 'x')
    catalog.copies.intend(A.digest, 'y')
    for _ in range(2):  # no error if there is none
        catalog.copies.forget(A.digest, 'x')
        assert [c.location_id for c in catalog.copies.of(A.digest)] == ['y']


def test_an_adopted_copy_brings_its_template_back(catalog):
    catalog.copies.adopt(A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(A)
    (copy,) = catalog.copies.of(A.digest)
    assert copy.complete
    # Nobody has removed an image: it is kept for the operator.
    assert not catalog.bindings.is_unreferenced(A.digest)


def test_an_adopted_copy_leaves_a_known_template_as_it_is(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.copies.adopt(dataclasses.replace(A, created_at=99.0), 'y')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('one',)
    )
    assert [c.location_id for c in catalog.copies.of(A.digest)] == ['x', 'y']


def test_an_adoption_brings_a_template_back_whose_copy_is_known(catalog):
    put(catalog, objects.Copy(A.digest, 'x', complete=True, verified_at=5.0))
    catalog.copies.adopt(A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(A)
    assert catalog.copies.of(A.digest)[0].verified_at == 5.0


def test_an_intended_copy_can_be_adopted(catalog):
    catalog.copies.intend(A.digest, 'x')
    catalog.copies.adopt(A, 'x')
    assert [c.complete for c in catalog.copies.of(A.digest)] == [True]


def test_what_is_known_of_a_copy_survives_its_adoption(catalog):
    known = objects.Copy(
        A.digest, 'x', complete=True, verified_at=5.0, published=('one',)
    )
    catalog.bindings.bind(image(), A, 'x')
    put(catalog, known)
    catalog.copies.adopt(A, 'x')
    assert catalog.copies.of(A.digest) == [known]


def test_where_a_copy_is_published_survives_another_binding(catalog):
    catalog.bindings.bind(image('one'), A, 'x')
    put(
        catalog,
        objects.Copy(
            A.digest, 'x', complete=True, verified_at=5.0, published=('one',)
        ),
    )
    catalog.bindings.bind(image('two'), A, 'x')
    assert catalog.copies.of(A.digest)[0].published == ('one',)


def test_all_copies_of_the_cluster_are_told(catalog):
    catalog.copies.intend(B.digest, 'y')
    catalog.copies.adopt(A, 'x')
    assert [(c.digest, c.location_id) for c in catalog.copies.all()] == [
        (A.digest, 'x'),
        (B.digest, 'y'),
    ]


def test_a_proof_of_a_copy_is_recorded(catalog, make):
    catalog.bindings.bind(image(), A, 'x')
    known = objects.Copy(
        A.digest, 'x', complete=True, verified_at=5.0, published=('one',)
    )
    put(catalog, known)
    make(clock=lambda: 77.0).copies.verified(A.digest, 'x')
    assert catalog.copies.of(A.digest) == [
        dataclasses.replace(known, verified_at=77.0)
    ]


def test_a_proof_makes_no_copy_complete(catalog):
    catalog.copies.intend(A.digest, 'x')
    before = catalog.records.store.list('/')
    catalog.copies.verified(A.digest, 'x')
    catalog.copies.verified(A.digest, 'y')
    assert catalog.records.store.list('/') == before


def test_a_proof_does_not_bring_a_forgotten_copy_back(catalog, rival):
    catalog.copies.adopt(A, 'x')
    before_commit(catalog, lambda: rival.copies.forget(A.digest, 'x'))
    catalog.copies.verified(A.digest, 'x')
    assert catalog.copies.of(A.digest) == []


def test_a_copy_is_dropped_unless_it_is_there(catalog):
    catalog.copies.adopt(A, 'x')
    catalog.copies.drop(A.digest, 'x', lambda: True)
    assert len(catalog.copies.of(A.digest)) == 1
    catalog.copies.drop(A.digest, 'x', lambda: False)
    assert catalog.copies.of(A.digest) == []
    catalog.copies.drop(A.digest, 'x', lambda: False)


def test_a_copy_that_is_bound_while_it_is_dropped_stays(catalog, rival):
    catalog.copies.intend(A.digest, 'x')
    before_commit(catalog, lambda: rival.bindings.bind(image(), A, 'x'))
    catalog.copies.drop(A.digest, 'x', lambda: False)
    assert [c.complete for c in catalog.copies.of(A.digest)] == [True]


# Releasing copies


def test_a_copy_is_released_to_complete_ones(catalog):
    for location in 'xyz':
        catalog.copies.adopt(A, location)
    assert catalog.copies.release(A.digest, 'x', ['y', 'z'])
    assert [c.location_id for c in catalog.copies.of(A.digest)] == ['y', 'z']


@pytest.mark.parametrize('keepers', [[], ['y'], ['z'], ['z', 'w'], ['w']])
def test_a_copy_is_not_released_to_incomplete_ones(catalog, keepers):
    catalog.copies.adopt(A, 'x')
    catalog.copies.adopt(A, 'z' if keepers == ['z', 'w'] else 'v')
    catalog.copies.intend(A.digest, 'y')
    before = catalog.records.store.list('/')
    assert not catalog.copies.release(A.digest, 'x', keepers)
    assert catalog.records.store.list('/') == before


def test_two_copies_cannot_be_released_to_each_other(catalog, rival):
    catalog.copies.adopt(A, 'x')
    catalog.copies.adopt(A, 'y')
    won = []
    before_commit(
        catalog, lambda: won.append(rival.copies.release(A.digest, 'y', ['x']))
    )
    assert not catalog.copies.release(A.digest, 'x', ['y'])
    assert won == [True]
    assert [c.location_id for c in catalog.copies.of(A.digest)] == ['x']


# Forgetting templates


def test_an_unreferenced_template_without_copies_is_forgotten(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.bindings.unbind(image())
    assert not catalog.bindings.forget(A.digest)
    catalog.copies.forget(A.digest, 'x')
    assert catalog.bindings.forget(A.digest)
    assert catalog.records.store.list('/') == []
    assert catalog.bindings.forget(A.digest)


def test_a_template_with_images_is_not_forgotten(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.copies.forget(A.digest, 'x')
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest)


def test_an_adopted_template_is_not_forgotten(catalog):
    catalog.copies.adopt(A, 'x')
    catalog.copies.forget(A.digest, 'x')
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest)


# Locations


def test_locations_are_told_by_id(catalog, rival):
    locations = [objects.Location(i, 'n', 'ssd', f'/{i}', 1.5) for i in 'xy']
    for location in reversed(locations):
        catalog.locations.put(location)
    assert rival.locations.all() == locations
    lost = dataclasses.replace(locations[0], state=objects.LOST)
    rival.locations.put(lost)
    assert catalog.locations.all() == [lost, locations[1]]


def test_a_location_that_did_not_change_is_not_written(catalog):
    location = objects.Location('x', 'n', 'ssd', '/x', 1.5)
    catalog.locations.put(location)
    before = catalog.records.store.list('/')
    catalog.locations.put(location)
    assert catalog.records.store.list('/') == before


# Nodes


def test_a_node_is_known_as_long_as_its_lease_lives(catalog, rival):
    leases = {}
    for name in ('n1', 'n2'):
        leases[name] = catalog.nodes.grant(60)
        catalog.nodes.announce(
            objects.Node(name, 'https://h', 'h:1', '1.0'), leases[name]
        )
    busy = objects.Node('n1', 'https://h', 'h:1', '1.0', (A.digest,))
    catalog.nodes.announce(busy, leases['n1'])
    assert rival.nodes.keep_alive(leases['n1'])
    assert list(rival.nodes.live()) == ['n1', 'n2']
    assert rival.nodes.live()['n1'] == busy
    catalog.nodes.revoke(leases['n1'])
    assert list(rival.nodes.live()) == ['n2']
    assert not rival.nodes.keep_alive(leases['n1'])
    with pytest.raises(exceptions.NotFound):
        rival.nodes.announce(busy, leases['n1'])


def test_the_holders_are_the_live_nodes_with_a_complete_copy(catalog):
    for node in ('n1', 'n2', 'n3', 'n4'):
        catalog.locations.put(
            objects.Location(f'on-{node}', node, 'ssd', '/x', 1.0)
        )
    for node in ('n1', 'n2', 'n3'):
        catalog.nodes.announce(
            objects.Node(node, 'https://h', 'h:1', '1.0'),
            catalog.nodes.grant(60),
        )
    catalog.copies.adopt(A, 'on-n1')
    catalog.copies.intend(A.digest, 'on-n2')
    catalog.copies.adopt(A, 'on-n4')
    catalog.copies.adopt(B, 'on-n3')
    assert catalog.nodes.with_copy(A.digest) == {'n1', 'n4'}
    assert [node.name for node in catalog.nodes.holders(A.digest)] == ['n1']


def test_a_watch_tells_of_changes_in_the_cluster(catalog, rival):
    watch = catalog.watch()
    settle(watch)
    rival.bindings.bind(image(), A, 'x')
    assert watch.wait(60)
    watch.close()


# Races, step by step: the rival acts between the look and the leap.


def test_of_two_bindings_of_an_image_the_first_wins(catalog, rival):
    before_commit(
        catalog, lambda: rival.bindings.bind(image(token='1' * 32), A, 'x')
    )
    with pytest.raises(exceptions.Duplicate):
        catalog.bindings.bind(image(name='b'), B, 'x')
    assert catalog.bindings.image('one').token == '1' * 32
    assert catalog.bindings.template(B.digest) is None
    assert catalog.copies.of(B.digest) == []


def test_two_images_bound_at_once_both_count(catalog, rival):
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, 'y'))
    catalog.bindings.bind(image('one'), A, 'x')
    assert catalog.bindings.template(A.digest).images == ('one', 'two')
    assert len(catalog.copies.of(A.digest)) == 2


def test_a_template_that_is_bound_while_it_is_unbound_lives(catalog, rival):
    catalog.bindings.bind(image('one'), A, 'x')
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, 'x'))
    assert not catalog.bindings.unbind(image('one'))
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_a_template_that_is_unbound_while_it_is_bound_lives(catalog, rival):
    catalog.bindings.bind(image('one'), A, 'x')
    before_commit(catalog, lambda: rival.bindings.unbind(image('one')))
    catalog.bindings.bind(image('two'), A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_of_two_unbindings_only_one_succeeds(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    before_commit(catalog, lambda: rival.bindings.unbind(image()))
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image())
    assert catalog.bindings.is_unreferenced(A.digest)


def test_an_image_that_was_bound_anew_is_not_unbound_with_the_old_token(
    catalog, rival
):
    catalog.bindings.bind(image(), A, 'x')

    def rebind():
        rival.bindings.unbind(image())
        rival.bindings.bind(image(token='1' * 32), A, 'x')

    before_commit(catalog, rebind)
    with pytest.raises(exceptions.NotFound):
        catalog.bindings.unbind(image())
    assert catalog.bindings.image('one').token == '1' * 32


def test_the_last_of_two_images_unbound_at_once_takes_the_template(
    catalog, rival
):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.bind(image('two'), A, 'x')
    first = []
    before_commit(
        catalog, lambda: first.append(rival.bindings.unbind(image('two')))
    )
    assert catalog.bindings.unbind(image('one'))
    assert first == [False]


def test_a_template_that_is_bound_while_it_is_forgotten_stays(catalog, rival):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.unbind(image('one'))
    catalog.copies.forget(A.digest, 'x')
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, 'x'))
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_a_template_that_is_forgotten_while_it_is_bound_comes_back(
    catalog, rival
):
    catalog.bindings.bind(image('one'), A, 'x')
    catalog.bindings.unbind(image('one'))
    catalog.copies.forget(A.digest, 'x')
    before_commit(catalog, lambda: rival.bindings.forget(A.digest))
    catalog.bindings.bind(image('two'), A, 'x')
    assert catalog.bindings.template(A.digest) == objects.TemplateRecord(
        A, ('two',)
    )


def test_a_template_whose_copy_is_adopted_while_it_is_forgotten_stays(
    catalog, rival
):
    catalog.bindings.bind(image(), A, 'x')
    catalog.bindings.unbind(image())
    catalog.copies.forget(A.digest, 'x')
    before_commit(catalog, lambda: rival.copies.adopt(A, 'x'))
    assert not catalog.bindings.forget(A.digest)
    assert catalog.bindings.template(A.digest)


def test_an_adoption_does_not_undo_a_binding(catalog, rival):
    before_commit(catalog, lambda: rival.bindings.bind(image(), A, 'y'))
    catalog.copies.adopt(A, 'x')
    assert catalog.bindings.template(A.digest).images == ('one',)


def test_an_adoption_does_not_undo_an_unbinding(catalog, rival):
    catalog.bindings.bind(image(), A, 'x')
    before_commit(catalog, lambda: rival.bindings.unbind(image()))
    catalog.copies.adopt(A, 'y')
    assert catalog.bindings.is_unreferenced(A.digest)


def test_who_never_gets_through_gives_up(catalog, rival):
    catalog.records.store.commit = lambda *args: False
    for call in (
        lambda: catalog.bindings.bind(image(), A, 'x'),
        lambda: catalog.copies.adopt(A, 'x'),
    ):
        with pytest.raises(exceptions.Unavailable, match='try again'):
            call()


# Races of threads, on handles of their own


def agrees(catalog):
    """Tell whether both ways to ask who refers to a template agree."""
    bound = {}
    for entry in catalog.records.store.list(f'{ROOT}/images/'):
        found = objects.Image.from_json(entry.value)
        bound.setdefault(found.digest, set()).add(found.image_id)
    records = {r.template.digest: r for r in catalog.bindings.templates()}
    return set(bound) <= set(records) and all(
        set(record.images) == bound.get(digest, set())
        and (record.deleted_at is None or not record.images)
        for digest, record in records.items()
    )


def test_no_binding_is_lost_among_threads(make):
    catalogs = [make() for _ in range(2)]
    in_threads(
        *[
            lambda c=catalogs[n % 2], n=n: c.bindings.bind(
                image(f'i{n}'), A, 'x'
            )
            for n in range(8)
        ]
    )
    assert catalogs[0].bindings.template(A.digest).images == tuple(
        f'i{n}' for n in range(8)
    )


def test_one_of_many_threads_binds_an_image(make):
    catalogs = [make() for _ in range(2)]

    def bind(catalog, number):
        try:
            name = 'ab'[number % 2]
            catalog.bindings.bind(
                image(name=name, token=f'{number:032x}'), template(name), 'x'
            )
        except exceptions.Duplicate:
            return None
        return number

    for _ in range(3):
        winners = [
            n
            for n in in_threads(
                *[lambda n=n: bind(catalogs[n // 2 % 2], n) for n in range(6)]
            )
            if n is not None
        ]
        found = catalogs[0].bindings.image('one')
        assert [f'{n:032x}' for n in winners] == [found.token]
        assert agrees(catalogs[0])
        catalogs[0].bindings.unbind(found)


def test_one_of_many_threads_unbinds_an_image(catalog, rival):
    def unbind(handle):
        try:
            return handle.bindings.unbind(image())
        except exceptions.NotFound:
            return None

    for _ in range(3):
        catalog.bindings.bind(image(), A, 'x')
        told = in_threads(
            *[lambda c=c: unbind(c) for c in (catalog, rival) * 3]
        )
        assert sorted(told, key=str) == [None] * 5 + [True]


def test_uploads_and_removals_among_threads_leave_an_agreeing_catalog(make):
    def churn(number):
        catalog = make()
        for turn in range(4):
            mine = image(f'i{number}', token=f'{number:032x}')
            catalog.copies.intend(A.digest, 'x')
            catalog.bindings.bind(mine, A, 'x')
            assert agrees_for(catalog, mine)
            if turn == 3 and number % 2:
                return
            if catalog.bindings.unbind(mine):
                catalog.copies.forget(A.digest, 'x')
                catalog.bindings.forget(A.digest)

    def agrees_for(catalog, mine):
        return mine.image_id in catalog.bindings.template(A.digest).images

    in_threads(*[lambda n=n: churn(n) for n in range(4)])
    catalog = make()
    assert agrees(catalog)
    assert catalog.bindings.template(A.digest).images == ('i1', 'i3')


# Any sequence of calls, against a model

STEPS = st.lists(
    st.tuples(
        st.sampled_from(['bind', 'unbind', 'forget', 'adopt', 'forget copy']),
        st.sampled_from(['one', 'two', 'three']),
        st.sampled_from('ab'),
        st.sampled_from('xy'),
    ),
    max_size=30,
)


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(STEPS)
def test_any_sequence_of_calls_does_what_a_simple_model_does(
    tmp_path_factory, steps
):
    store = sqlite.SQLiteKeyValue(
        f'sqlite:///{tmp_path_factory.mktemp("c")}/c.sqlite'
    )
    catalog = domain.Catalog(store, 'blue', lambda: NOW)
    images, templates, copies = {}, {}, set()
    for verb, image_id, name, place in steps:
        digest = name * 64
        if verb == 'bind' and image_id in images:
            with pytest.raises(exceptions.Duplicate):
                catalog.bindings.bind(
                    image(image_id, name), template(name), place
                )
        elif verb == 'bind':
            catalog.bindings.bind(image(image_id, name), template(name), place)
            images[image_id], templates[digest] = digest, True
            copies.add((digest, place))
        elif verb == 'unbind' and image_id not in images:
            with pytest.raises(exceptions.NotFound):
                catalog.bindings.unbind(image(image_id, name))
        elif verb == 'unbind':
            digest = images.pop(image_id)
            templates[digest] = digest in images.values()
            assert catalog.bindings.unbind(
                catalog.bindings.image(image_id)
            ) is (not templates[digest])
        elif verb == 'forget':
            gone = digest not in templates or not (
                templates[digest] or any(d == digest for d, _ in copies)
            )
            assert catalog.bindings.forget(digest) is gone
            if gone:
                templates.pop(digest, None)
        elif verb == 'adopt':
            catalog.copies.adopt(template(name), place)
            templates.setdefault(digest, True)
            copies.add((digest, place))
        else:
            catalog.copies.forget(digest, place)
            copies.discard((digest, place))
        assert agrees(catalog)
        assert {
            r.template.digest: r.deleted_at is None
            for r in catalog.bindings.templates()
        } == templates
        assert {
            (c.digest, c.location_id)
            for d in 'ab'
            for c in catalog.copies.of(d * 64)
        } == copies
    store.close()


def test_a_commit_whose_answer_was_lost_can_be_undone(catalog):
    """The caller of bind() cannot tell whether it was carried out."""
    store, commit = catalog.records.store, catalog.records.store.commit

    def lose_the_answer(*args):
        store.commit = commit
        commit(*args)
        raise exceptions.Unavailable('timeout')

    store.commit = lose_the_answer
    with pytest.raises(exceptions.Unavailable):
        catalog.bindings.bind(image(), A, 'x')
    assert catalog.bindings.unbind(image())
    assert store.commit([Compare(f'{ROOT}/images/one', 0)], [])


# Draining and pinning


def place(catalog, location_id, node, **fields):
    catalog.locations.put(
        objects.Location(
            location_id,
            node,
            **{
                'tier': 'ssd',
                'path': f'/{location_id}',
                'weight': 1.0,
                **fields,
            },
        )
    )


def states(catalog):
    return {each.id: each.state for each in catalog.locations.all()}


def test_draining_a_node_drains_its_active_locations_only(catalog):
    place(catalog, 'a', 'n1')
    place(catalog, 'b', 'n1', state='lost')
    place(catalog, 'c', 'n2')
    assert [each.id for each in catalog.locations.drain('n1')] == ['a', 'b']
    assert states(catalog) == {'a': 'draining', 'b': 'lost', 'c': 'active'}
    catalog.locations.resume('n1')
    assert states(catalog) == {'a': 'active', 'b': 'lost', 'c': 'active'}


def test_the_last_active_node_cannot_be_drained(catalog):
    place(catalog, 'a', 'n1')
    place(catalog, 'b', 'n2', tier='staging')
    place(catalog, 'c', 'n3', state='lost')
    with pytest.raises(exceptions.Invalid):
        catalog.locations.drain('n1')
    assert states(catalog)['a'] == 'active'


@pytest.mark.parametrize('verb', ['drain', 'resume'])
def test_a_node_without_locations_is_not_found(catalog, verb):
    place(catalog, 'a', 'n1')
    with pytest.raises(exceptions.NotFound):
        getattr(catalog.locations, verb)('n9')


def test_draining_keeps_what_the_node_writes_meanwhile(catalog, rival):
    place(catalog, 'a', 'n1')
    place(catalog, 'b', 'n2')
    before_commit(catalog, lambda: place(rival, 'a', 'n1', weight=7.0))
    catalog.locations.drain('n1')
    location = catalog.locations.all()[0]
    assert (location.state, location.weight) == ('draining', 7.0)


def test_pinning_keeps_an_image_that_is_bound_meanwhile(catalog, rival):
    catalog.bindings.bind(image('one'), A, 'x')
    before_commit(catalog, lambda: rival.bindings.bind(image('two'), A, 'x'))
    assert catalog.bindings.pin(A.digest, True).images == ('one', 'two')
    assert catalog.bindings.template(A.digest).pinned
    assert not catalog.bindings.pin(A.digest, False).pinned


def test_a_template_that_is_being_removed_cannot_be_pinned(catalog):
    catalog.bindings.bind(image(), A, 'x')
    catalog.bindings.unbind(image())
    for digest in A.digest, B.digest:
        with pytest.raises(exceptions.NotFound):
            catalog.bindings.pin(digest, True)
    assert not catalog.bindings.template(A.digest).pinned
