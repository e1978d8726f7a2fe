# SPDX-License-Identifier: Apache-2.0
"""The one suite that every driver of the key-value contract must pass.

A driver's tests inherit :class:`KeyValueContract` and give it the fixture
``make_store``. Nothing here is assumed of the speed of the machine: a lease is
only ever seen to expire *eventually*, and to live where the test can prove
that it was not held up itself.
"""

import concurrent.futures
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog.contract import Compare
from tmpl_glance_store.catalog.contract import Delete
from tmpl_glance_store.catalog.contract import KeyValue
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.contract import Watch

TTL = 1  # seconds; a driver may round it up
PATIENCE = 60  # seconds after which "eventually" has failed


def eventually(condition: Callable[[], object]) -> bool:
    """Wait until *condition* holds; False if it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def settle(watch: Watch) -> None:
    """Take what *watch* still has to tell, until it is quiet."""
    assert any(not watch.wait(0.1) for _ in range(100)), 'never quiet'


def followed(
    watch: Watch, store: KeyValue, root: str, known: dict[str, bytes]
) -> dict[str, bytes]:
    """Return what *known* becomes by the changes that a watch gives.

    They come a moment after the writes: takes them until they fit.
    """

    def listed() -> dict[str, bytes]:
        return {each.key: each.value for each in store.list(root)}

    def caught_up() -> bool:
        nonlocal known
        changes = watch.take()
        if changes is None:
            known = listed()
        for each in changes or ():
            if each.value is None:
                known.pop(each.key, None)
            else:
                known[each.key] = each.value
        return known == listed()

    known = dict(known)
    assert eventually(caught_up)
    return known


def leased(watch: Watch, store: KeyValue, key: str) -> bool:
    """Put *key* for a short time, and let *watch* be quiet until it goes.

    :returns: False if it went too early, because the test was held up
    """
    store.commit([], [Put(key, b'1', store.grant(TTL))])
    settle(watch)
    return store.get(key) is not None


def in_threads(*calls: Callable[[], object]) -> list[object]:
    """Run *calls* at the same time; return their results in order."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        start.wait(PATIENCE)
        return call()

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class KeyValueContract:
    """Inherit it, name the class ``Test…``, and override ``make_store``."""

    @pytest.fixture
    def make_store(self) -> Callable[[], KeyValue]:
        """Return a function that opens one more handle on the same data."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, make_store: Callable[[], KeyValue]) -> Iterator[KeyValue]:
        """One handle."""
        store = make_store()
        yield store
        store.close()

    @pytest.fixture
    def other(self, make_store: Callable[[], KeyValue]) -> Iterator[KeyValue]:
        """An independent handle on the same data."""
        store = make_store()
        yield store
        store.close()

    @pytest.fixture
    def root(self) -> str:
        """A prefix of this test alone: the data may outlive it."""
        return f'/tmpl-test/{uuid.uuid4().hex}/'

    @pytest.fixture
    def watch(self, store: KeyValue, root: str) -> Iterator[Watch]:
        """A quiet watch of ``root``."""
        watch = store.watch(root)
        settle(watch)
        yield watch
        watch.close()

    # Reading and writing

    def test_an_absent_key_has_no_entry(self, store, root):
        assert store.get(root + 'a') is None
        assert store.list(root) == []

    def test_what_one_handle_writes_the_other_reads(self, store, other, root):
        assert store.commit([], [Put(root + 'a', b'1')])
        entry = other.get(root + 'a')
        assert (entry.key, entry.value) == (root + 'a', b'1')
        assert entry == store.get(root + 'a') == other.list(root)[0]

    @pytest.mark.parametrize(
        'value', [b'', b'\0', bytes(range(256)), 'ä'.encode(), b'x' * 200_000]
    )
    def test_a_value_is_any_bytes(self, store, root, value):
        store.commit([], [Put(root + 'a', value)])
        assert store.get(root + 'a').value == value

    def test_a_put_replaces_the_value(self, store, root):
        store.commit([], [Put(root + 'a', b'1')])
        store.commit([], [Put(root + 'a', b'2')])
        assert [e.value for e in store.list(root)] == [b'2']

    def test_a_deleted_key_is_absent(self, store, other, root):
        store.commit([], [Put(root + 'a', b'1'), Put(root + 'b', b'1')])
        assert other.commit([], [Delete(root + 'a')])
        assert store.get(root + 'a') is None
        assert [e.key for e in store.list(root)] == [root + 'b']

    def test_deleting_an_absent_key_is_no_error(self, store, root):
        assert store.commit([], [Delete(root + 'a')])

    def test_a_list_is_sorted_by_key(self, store, root):
        names = ['b', 'a/b', 'a', 'B', 'a-b', '10', '9']
        for name in names:
            store.commit([], [Put(root + name, b'')])
        assert [e.key for e in store.list(root)] == sorted(
            root + name for name in names
        )

    def test_a_list_takes_its_prefix_literally(self, store, root):
        for name in ('a_/1', 'a_/2', 'a_', 'ab/1', 'A_/1', 'a%/1', 'a_0'):
            store.commit([], [Put(root + name, b'')])
        assert [e.key for e in store.list(root + 'a_/')] == [
            root + 'a_/1',
            root + 'a_/2',
        ]
        assert [e.key for e in store.list(root + 'a_')] == [
            root + 'a_',
            root + 'a_/1',
            root + 'a_/2',
            root + 'a_0',
        ]

    def test_a_list_may_be_long(self, store, root):
        keys = [f'{root}{n:04}' for n in range(1100)]
        for at in range(0, len(keys), 100):
            store.commit([], [Put(k, b'') for k in keys[at : at + 100]])
        assert [e.key for e in store.list(root)] == keys

    def test_a_closed_handle_leaves_the_data_to_others(
        self, make_store, store, root
    ):
        third = make_store()
        third.commit([], [Put(root + 'a', b'1')])
        third.close()
        assert store.get(root + 'a').value == b'1'

    # Several keys at once

    def test_those_of_several_keys_that_are_there_come_back(self, store, root):
        store.commit([], [Put(root + 'a', b'1'), Put(root + 'c', b'3')])
        found = store.get_all([root + 'a', root + 'b', root + 'c'])
        assert {entry.key: entry.value for entry in found} == {
            root + 'a': b'1',
            root + 'c': b'3',
        }
        assert {entry.revision for entry in found} == {
            store.get(root + 'a').revision
        }

    def test_no_keys_are_no_entries(self, store):
        assert store.get_all([]) == []

    def test_more_keys_than_one_request_can_take_come_back(self, store, root):
        keys = [f'{root}many/{n:04}' for n in range(1200)]
        for start in range(0, len(keys), 100):
            store.commit(
                [], [Put(key, b'x') for key in keys[start : start + 100]]
            )
        assert sorted(e.key for e in store.get_all(keys)) == keys

    # How far it is

    def test_a_store_is_the_same_for_all_and_goes_forward(
        self, store, other, root
    ):
        before = store.moment(root + 'a')
        other.commit([], [Put(root + 'a', b'1')])
        after = other.moment(root + 'never there')
        assert before.identity == after.identity == store.moment(root).identity
        assert after.revision > before.revision
        assert store.get(root + 'a').revision <= after.revision

    # Revisions and transactions

    def test_a_revision_grows_with_every_change(self, store, other, root):
        revisions = []
        for handle in (store, other, store):
            handle.commit([], [Put(root + 'a', b'same')])
            revisions.append(store.get(root + 'a').revision)
        assert 0 < revisions[0] < revisions[1] < revisions[2]

    def test_a_revision_stays_while_other_keys_change(self, store, root):
        store.commit([], [Put(root + 'a', b'1')])
        before = store.get(root + 'a')
        store.commit([], [Put(root + 'b', b'1')])
        assert store.get(root + 'a') == before

    def test_a_key_that_was_made_again_has_a_later_revision(
        self, store, other, root
    ):
        store.commit([], [Put(root + 'a', b'1')])
        before = store.get(root + 'a').revision
        store.commit([], [Delete(root + 'a')])
        store.commit([], [Put(root + 'a', b'1')])
        assert store.get(root + 'a').revision > before
        assert not other.commit(
            [Compare(root + 'a', before)], [Delete(root + 'a')]
        )

    def test_a_comparison_holds_for_the_last_revision_only(
        self, store, other, root
    ):
        store.commit([], [Put(root + 'a', b'1')])
        seen = store.get(root + 'a').revision
        assert other.commit(
            [Compare(root + 'a', seen)], [Put(root + 'a', b'2')]
        )
        assert not store.commit(
            [Compare(root + 'a', seen)], [Put(root + 'a', b'3')]
        )
        assert store.get(root + 'a').value == b'2'

    def test_revision_0_means_absent(self, store, other, root):
        create = [Compare(root + 'a', 0)], [Put(root + 'a', b'1')]
        assert store.commit(*create)
        assert not other.commit(*create)
        other.commit([], [Delete(root + 'a')])
        assert store.commit(*create)

    def test_an_absent_key_has_no_other_revision(self, store, root):
        assert not store.commit(
            [Compare(root + 'a', 1)], [Put(root + 'a', b'1')]
        )
        assert store.get(root + 'a') is None

    def test_one_failed_comparison_prevents_all_writes(self, store, root):
        store.commit([], [Put(root + 'a', b'1')])
        seen = store.get(root + 'a').revision
        assert not store.commit(
            [
                Compare(root + 'a', seen),
                Compare(root + 'b', 0),
                Compare(root + 'a', seen + 1),
            ],
            [Put(root + 'b', b'1'), Delete(root + 'a')],
        )
        assert [e.key for e in store.list(root)] == [root + 'a']

    def test_a_transaction_puts_and_deletes_at_once(self, store, root):
        store.commit([], [Put(root + 'a', b'1')])
        seen = store.get(root + 'a').revision
        assert store.commit(
            [Compare(root + 'a', seen), Compare(root + 'b', 0)],
            [Delete(root + 'a'), Put(root + 'b', b'1'), Put(root + 'c', b'2')],
        )
        assert [(e.key, e.value) for e in store.list(root)] == [
            (root + 'b', b'1'),
            (root + 'c', b'2'),
        ]

    def test_of_two_writes_of_a_key_the_last_one_counts(self, store, root):
        a, b = root + 'a', root + 'b'
        store.commit([], [Put(a, b'1'), Put(a, b'2'), Delete(b), Put(b, b'1')])
        assert [e.value for e in store.list(root)] == [b'2', b'1']
        store.commit([], [Put(a, b'3'), Delete(a)])
        assert [e.key for e in store.list(root)] == [b]

    def test_a_transaction_without_writes_only_compares(self, store, root):
        assert store.commit([Compare(root + 'a', 0)], [])
        assert not store.commit([Compare(root + 'a', 1)], [])
        assert store.commit([], [])

    # Several at once

    def test_no_increment_is_lost(self, store, other, root):
        store.commit([], [Put(root + 'n', b'0')])

        def increment(handle: KeyValue) -> None:
            for _ in range(5):
                done = False
                while not done:
                    seen = handle.get(root + 'n')
                    done = handle.commit(
                        [Compare(root + 'n', seen.revision)],
                        [Put(root + 'n', b'%d' % (int(seen.value) + 1))],
                    )

        in_threads(*[lambda h=h: increment(h) for h in (store, other) * 3])
        assert store.get(root + 'n').value == b'30'

    def test_one_of_many_creators_wins(self, store, other, root):
        for number in range(5):
            key = f'{root}{number}'
            won = in_threads(
                *[
                    lambda h=h, key=key, n=n: h.commit(
                        [Compare(key, 0)], [Put(key, b'%d' % n)]
                    )
                    for n, h in enumerate((store, other) * 3)
                ]
            )
            assert won.count(True) == 1
            assert store.get(key).value == b'%d' % won.index(True)

    def test_nobody_sees_half_a_transaction(self, store, other, root):
        done = threading.Event()

        def write() -> None:
            try:
                for n in range(30):
                    store.commit(
                        [], [Put(root + name, b'%d' % n) for name in 'abc']
                    )
            finally:
                done.set()

        def read() -> set[tuple[bytes, ...]]:
            seen = set()
            while not done.is_set():
                seen.add(tuple(e.value for e in other.list(root)))
            return seen

        seen = in_threads(write, read)[1]
        assert all(
            len(values) in (0, 3) and len(set(values)) <= 1 for values in seen
        )

    def test_a_handle_works_in_a_child_after_a_fork(self, store, root):
        store.commit([], [Put(root + 'parent', b'1')])
        pid = os.fork()
        if pid == 0:
            signal.alarm(PATIENCE)
            good = False
            try:
                good = store.get(root + 'parent') is not None and store.commit(
                    [], [Put(root + 'child', b'1')]
                )
            finally:
                os._exit(0 if good else 1)
        # While the child is at it.
        assert store.commit([], [Put(root + 'parent', b'2')]) is True
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert store.get(root + 'child').value == b'1'
        assert store.commit([], [Put(root + 'parent', b'3')])

    # Leases

    def test_a_key_goes_when_its_lease_expires(self, store, other, root):
        lease = store.grant(TTL)
        store.commit(
            [],
            [
                Put(root + 'a', b'1', lease),
                Put(root + 'b', b'1', lease),
                Put(root + 'c', b'1'),
            ],
        )
        assert eventually(lambda: other.get(root + 'a') is None)
        assert eventually(
            lambda: [e.key for e in store.list(root)] == [root + 'c']
        )

    def test_an_expired_lease_stays_expired(self, store, other, root):
        lease = store.grant(TTL)
        store.commit([], [Put(root + 'a', b'1', lease)])
        assert eventually(lambda: store.get(root + 'a') is None)
        assert not other.keep_alive(lease)
        with pytest.raises(exceptions.NotFound):
            store.commit(
                [], [Put(root + 'b', b'1'), Put(root + 'a', b'2', lease)]
            )
        assert store.list(root) == []
        store.revoke(lease)

    def test_a_key_can_be_taken_over_when_its_lease_has_expired(
        self, store, other, root
    ):
        store.commit([], [Put(root + 'a', b'1', store.grant(TTL))])
        take = [Compare(root + 'a', 0)], [Put(root + 'a', b'2')]
        assert eventually(lambda: other.commit(*take))
        assert store.get(root + 'a').value == b'2'

    def test_a_lease_that_is_kept_alive_outlives_its_time(
        self, store, other, root
    ):
        ttl = 2

        def outlives() -> bool:
            """Return False if this process was held up for too long."""
            lease = store.grant(ttl)
            store.commit([], [Put(root + 'a', b'1', lease)])
            begun = renewed = time.monotonic()
            while time.monotonic() < begun + 2 * ttl:
                now = time.monotonic()
                alive = store.keep_alive(lease)
                entry = other.get(root + 'a')
                if time.monotonic() - renewed > ttl - 0.5:
                    return False
                assert alive
                assert entry.value == b'1'
                renewed = now
                time.sleep(0.1)
            store.revoke(lease)
            return True

        assert any(outlives() for _ in range(10))

    def test_revoking_a_lease_removes_its_keys(self, store, other, root):
        lease = store.grant(PATIENCE)
        store.commit([], [Put(root + 'a', b'1', lease), Put(root + 'b', b'')])
        other.revoke(lease)
        assert [e.key for e in store.list(root)] == [root + 'b']
        assert store.commit([Compare(root + 'a', 0)], [])
        assert not store.keep_alive(lease)
        with pytest.raises(exceptions.NotFound):
            store.commit([], [Put(root + 'a', b'1', lease)])
        store.revoke(lease)

    def test_leases_end_one_by_one(self, store, root):
        leases = [store.grant(PATIENCE) for _ in range(3)]
        assert len(set(leases)) == 3
        for n, lease in enumerate(leases):
            store.commit([], [Put(f'{root}{n}', b'', lease)])
        store.revoke(leases[1])
        assert [e.key for e in store.list(root)] == [root + '0', root + '2']
        assert store.keep_alive(leases[2])

    @pytest.mark.parametrize('again', ['without a lease', 'another lease'])
    def test_a_key_that_was_put_again_leaves_its_lease(
        self, store, root, again
    ):
        first = store.grant(PATIENCE)
        second = store.grant(PATIENCE) if again == 'another lease' else None
        store.commit([], [Put(root + 'a', b'1', first)])
        store.commit([], [Put(root + 'a', b'2', second)])
        store.revoke(first)
        assert store.get(root + 'a').value == b'2'

    # Watches

    def test_a_watch_tells_of_every_change_by_another_handle(
        self, watch, other, root
    ):
        for write in (
            Put(root + 'a', b'1'),
            Put(root + 'a', b'1'),
            Put(root + 'b', b'1'),
            Delete(root + 'a'),
        ):
            other.commit([], [write])
            assert watch.wait(PATIENCE)
            settle(watch)

    def test_a_watch_tells_of_changes_by_its_own_handle(
        self, watch, store, root
    ):
        store.commit([], [Put(root + 'a', b'1')])
        assert watch.wait(PATIENCE)

    def test_a_watch_tells_what_happened_while_nobody_waited(
        self, watch, other, root
    ):
        other.commit([], [Put(root + 'a', b'1')])
        other.commit([], [Delete(root + 'a')])
        assert watch.wait(PATIENCE)

    def test_a_change_wakes_who_waits(self, watch, other, root):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            told = pool.submit(watch.wait, 2 * PATIENCE)
            assert not concurrent.futures.wait([told], timeout=0.3).done
            other.commit([], [Put(root + 'a', b'1')])
            assert told.result(PATIENCE)

    def test_each_watch_is_told(self, watch, store, other, root):
        second = other.watch(root)
        settle(second)
        store.commit([], [Put(root + 'a', b'1')])
        assert watch.wait(PATIENCE)
        assert second.wait(PATIENCE)
        second.close()

    def test_a_watch_tells_of_a_revoked_lease(self, watch, other, root):
        lease = other.grant(PATIENCE)
        other.commit([], [Put(root + 'a', b'1', lease)])
        settle(watch)
        other.revoke(lease)
        assert watch.wait(PATIENCE)

    def test_a_watch_tells_of_an_expired_lease(self, watch, other, root):
        assert any(leased(watch, other, root + 'a') for _ in range(10))
        assert watch.wait(PATIENCE)

    def test_a_new_lease_does_not_hide_an_expiry_from_a_watch(
        self, watch, other, root
    ):
        assert any(leased(watch, other, root + 'a') for _ in range(10))
        assert eventually(lambda: other.get(root + 'a') is None)
        other.grant(PATIENCE)
        assert watch.wait(10)

    def test_a_watch_that_nothing_has_happened_to_gives_no_changes(
        self, watch
    ):
        settle(watch)
        watch.take()
        assert watch.take() == ()

    def test_the_changes_of_a_watch_lead_from_one_list_to_the_next(
        self, watch, other, root
    ):
        lease = other.grant(PATIENCE)
        other.commit(
            [],
            [
                Put(root + 'a', b'1'),
                Put(root + 'b', b'1'),
                Put(root + 'leased', b'1', lease),
            ],
        )
        known = followed(watch, other, root, {})
        assert set(known) == {root + 'a', root + 'b', root + 'leased'}
        other.commit([], [Put(root + 'a', b'2'), Put(root + 'c', b'')])
        other.commit([], [Delete(root + 'b'), Put(root + 'd', b'1')])
        other.commit([], [Delete(root + 'd')])
        other.revoke(lease)
        assert followed(watch, other, root, known) == {
            root + 'a': b'2',
            root + 'c': b'',
        }

    def test_closing_a_watch_frees_who_waits(self, watch):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            told = pool.submit(watch.wait, 2 * PATIENCE)
            assert not concurrent.futures.wait([told], timeout=0.3).done
            watch.close()
            told.result(PATIENCE)
