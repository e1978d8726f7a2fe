# SPDX-License-Identifier: Apache-2.0
"""What each user may do, tried with that user on an etcd that wants users."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import pytest

from harness import host as hosts
from harness.agents import Cluster
from harness.etcd import Etcd
from harness.host import CLUSTER as AGENTS
from tests import facts
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import settle
from tests.functional.etcd.support import require_users
from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog import roles
from tmpl_glance_store.catalog.contract import Compare
from tmpl_glance_store.catalog.contract import Delete
from tmpl_glance_store.catalog.contract import KeyValue
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import driver

PASSWORD, CLUSTER = 'password', 'blue'
ROOT = f'/tmpl/{CLUSTER}/v2'
STATE = f'{ROOT}/state'
A = facts.template()

#: What only Glance and operators write.
OTHERS = (
    f'{ROOT}/images/one',
    f'{STATE}/templates/{A.digest}',
    f'{STATE}/heads/{A.digest}',
    f'{STATE}/claims/{A.digest}/one',
    f'{STATE}/deletions/{A.digest}',
    f'{STATE}/pins/{A.digest}',
    f'{STATE}/placement/node1/x',
    f'{STATE}/history/catalog',
    f'{STATE}/nodes/',
    f'{STATE}/locations/x',
    f'{ROOT}/anything',
    f'/tmpl/{CLUSTER}/v1/images/one',
    f'/tmpl/{CLUSTER}2/v2/state/nodes/node1',
)


def own(node: str) -> tuple[str, ...]:
    """Return a key of each kind that a node writes itself."""
    return (
        f'{STATE}/nodes/{node}',
        f'{STATE}/locations/{node}/x',
        f'{STATE}/copies/{node}/x/{A.digest}',
    )


@pytest.fixture(scope='module')
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """An etcd with users, and a record at each key."""
    with Etcd(tmp_path_factory.mktemp('etcd')) as etcd:
        store = driver.EtcdKeyValue(etcd.url)
        for key in (*OTHERS, *own('node1'), *own('node10'), *own('node2')):
            store.commit([], [Put(key, b'before')])
        store.close()
        require_users(
            etcd,
            {
                'glance': roles.glance(CLUSTER),
                'reader': roles.reader(CLUSTER),
                'green-glance': roles.glance('green'),
                'green-node': roles.node('green', 'node1'),
                'their-glance': roles.glance(AGENTS),
                'their-node': roles.node(AGENTS, 'n2'),
                **{
                    name: roles.node(CLUSTER, name)
                    for name in ('node1', 'node2', 'node10')
                },
            },
            PASSWORD,
        )
        yield etcd


@pytest.fixture
def url(etcd: Etcd, tmp_path: pathlib.Path) -> Callable[[str], str]:
    """Return a function that returns the URL for a user."""
    path = tmp_path / 'password'
    path.write_text(f'{PASSWORD}\n')
    path.chmod(0o600)
    return lambda user: f'{etcd.url}?user={user}&password_file={path}'


@pytest.fixture
def user(
    url: Callable[[str], str],
) -> Iterator[Callable[[str], driver.EtcdKeyValue]]:
    """Return a function that opens a handle as a user."""
    with contextlib.ExitStack() as stack:

        def open_store(name: str) -> driver.EtcdKeyValue:
            store = driver.EtcdKeyValue(url(name))
            stack.callback(store.close)
            return store

        yield open_store


def forbidden(call: Callable[[], object]) -> None:
    """Make sure that *call* is refused, and in etcd's words."""
    with pytest.raises(exceptions.Forbidden, match='permission denied'):
        call()


def all_writes(store: KeyValue, key: str) -> list[Callable[[], object]]:
    """Return each way to change *key*."""
    lease = store.grant(PATIENCE)
    return [
        lambda: store.commit([], [Put(key, b'forged')]),
        lambda: store.commit([], [Put(key, b'forged', lease)]),
        lambda: store.commit([Compare(key, 0)], [Put(key, b'forged')]),
        lambda: store.commit([], [Delete(key)]),
    ]


def all_reads(store: KeyValue, key: str) -> list[Callable[[], object]]:
    """Return each way to read *key*, or to hear of it."""
    return [
        lambda: store.get(key),
        lambda: store.get_all([key]),
        lambda: store.moment(key),
        lambda: store.list(key),
        lambda: store.watch(key),
        lambda: store.commit([Compare(key, 0)], []),
    ]


@pytest.mark.parametrize(
    'key', [*OTHERS, *own('node2'), *own('node10'), *own('node')]
)
def test_a_node_writes_nothing_of_others(
    user: Callable[[str], driver.EtcdKeyValue], key: str
) -> None:
    store = user('node1')
    for write in all_writes(store, key):
        forbidden(write)
    # Not even along with what it may write, nor in whole ranges.
    forbidden(
        lambda: store.commit([], [Put(own('node1')[0], b'1'), Delete(key)])
    )


@pytest.mark.parametrize('name', ['node1', 'node10'])
def test_nodes_whose_names_begin_alike_are_apart(
    user: Callable[[str], driver.EtcdKeyValue], name: str
) -> None:
    other = {'node1': 'node10', 'node10': 'node1'}[name]
    for key in own(other):
        for write in all_writes(user(name), key):
            forbidden(write)
        assert user('reader').get(key).value == b'before'


def test_a_node_does_not_end_the_lease_of_another(
    user: Callable[[str], driver.EtcdKeyValue],
) -> None:
    store = user('node2')
    lease = store.grant(PATIENCE)
    key = f'{STATE}/copies/node2/leased/{A.digest}'
    store.commit([], [Put(key, b'1', lease)])
    forbidden(lambda: user('node1').revoke(lease))
    assert store.get(key)
    store.revoke(lease)
    assert store.get(key) is None


@pytest.mark.parametrize('name', ['node1', 'reader'])
@pytest.mark.parametrize(
    'key',
    [
        f'{ROOT}/images/one',
        f'{ROOT}/images/',
        f'{ROOT}/',
        f'/tmpl/{CLUSTER}/v1/images/one',
        f'/tmpl/{CLUSTER}2/v2/state/nodes/node1',
    ],
)
def test_only_glance_reads_which_image_is_what(
    user: Callable[[str], driver.EtcdKeyValue], name: str, key: str
) -> None:
    for read in all_reads(user(name), key):
        forbidden(read)


@pytest.mark.parametrize('key', [*OTHERS, *own('node1')])
def test_who_only_looks_writes_nothing(
    user: Callable[[str], driver.EtcdKeyValue], key: str
) -> None:
    for write in all_writes(user('reader'), key):
        forbidden(write)


@pytest.mark.parametrize('name', ['glance', 'node1', 'reader'])
def test_everybody_reads_and_watches_the_state(
    user: Callable[[str], driver.EtcdKeyValue], name: str
) -> None:
    store, writer = user(name), user('node2')
    key = own('node2')[1]
    with contextlib.closing(store.watch(f'{STATE}/')) as watch:
        settle(watch)
        writer.commit([], [Put(key, b'before')])
        assert watch.wait(PATIENCE)
        changes = watch.take()
        assert [each.key for each in changes or ()] == [key]
    entry = store.get(key)
    assert entry is not None
    assert store.get_all([key, f'{STATE}/none']) == [entry]
    assert entry in store.list(f'{STATE}/')
    assert store.moment(key).revision >= entry.revision
    assert store.commit([Compare(key, entry.revision)], [])


@pytest.mark.parametrize('key', own('node1'))
def test_a_node_writes_what_is_its_own(
    user: Callable[[str], driver.EtcdKeyValue], key: str
) -> None:
    store = user('node1')
    lease = store.grant(PATIENCE)
    assert store.commit([], [Delete(key)])
    assert store.commit([Compare(key, 0)], [Put(key, b'1', lease)])
    assert store.keep_alive(lease)
    assert store.commit([], [Put(key, b'before')])
    store.revoke(lease)
    # What others write may be a condition, too.
    facts_of_a = store.get(OTHERS[1])
    assert store.commit(
        [Compare(OTHERS[1], facts_of_a.revision)], [Put(key, b'before')]
    )


@pytest.mark.parametrize('key', [*OTHERS[:-3], *own('node1')])
def test_glance_writes_the_whole_catalog_and_no_other(
    user: Callable[[str], driver.EtcdKeyValue], key: str
) -> None:
    store = user('glance')
    assert store.commit([], [Put(key, b'before')])
    assert store.get(key).value == b'before'
    for foreign in OTHERS[-2:]:
        for call in (*all_writes(store, foreign), *all_reads(store, foreign)):
            forbidden(call)


def test_the_catalog_works_with_these_roles(
    url: Callable[[str], str],
) -> None:
    """From an upload to the last trace of it, each by whose turn it is."""
    with contextlib.ExitStack() as stack:
        glance, node = (
            stack.enter_context(
                contextlib.closing(
                    domain.Catalog(driver.EtcdKeyValue(url(name)), 'green')
                )
            )
            for name in ('green-glance', 'green-node')
        )
        glance.history.begin()
        location, other = (
            objects.Location(f'{name}/d', name, 'ssd', '/d', 1.0)
            for name in ('node1', 'node2')
        )
        node.locations.put(location)
        glance.locations.put(other)
        lease = node.nodes.grant(PATIENCE)
        node.nodes.announce(
            objects.Node('node1', 'https://n', 'n:1', '1', instance='a'),
            lease,
        )
        image = objects.Image(
            'one', A.digest, objects.hash_token(facts.token()), 1.0
        )
        glance.bindings.bind(image, A, location.id)
        node.copies.verified(A.digest, location.id)
        node.copies.published(A.digest, location.id, ('one',), '')
        assert node.snapshot().live(A.digest) == {location.id}
        assert [n.name for n in node.nodes.holders(A.digest)] == ['node1']
        node.history.require()
        for call in (
            lambda: node.bindings.image('one'),
            lambda: node.bindings.unbind(image),
            lambda: node.bindings.pin(A.digest, True),
            lambda: node.locations.drain('node1'),
            node.history.accept,
        ):
            forbidden(call)
        assert glance.bindings.unbind(image)
        assert not node.bindings.forget(A.digest)  # it has a copy
        node.copies.forget(A.digest, location.id)
        forbidden(lambda: node.bindings.forget(A.digest))
        assert glance.bindings.forget(A.digest)
        forbidden(lambda: node.bindings.restore(A))
        node.nodes.revoke(lease)
        assert glance.nodes.live() == {}


def test_a_cluster_of_agents_works_with_these_roles(
    url: Callable[[str], str], tmp_path: pathlib.Path
) -> None:
    data = hosts.content(300_000)
    with Cluster(tmp_path / 'cluster', url('their-glance')) as cluster:
        source = cluster.node('n1', 'hdd:disk:10').start()
        agent = cluster.node(
            'n2', 'hdd:disk:10', tmpl_store_catalog=url('their-node')
        ).start()
        image = hosts.add(source.host.parts(), data)
        cluster.wait_for_holders(image.digest, 'n1', 'n2')
        assert agent.metric('agent_failed_passes_total') == 0
        hosts.remove(source.host.parts(), image)
        cluster.wait_until_clean()
