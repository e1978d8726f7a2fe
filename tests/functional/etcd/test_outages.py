# SPDX-License-Identifier: Apache-2.0
"""What befalls those who use an etcd that is not there."""

from harness.etcd import Etcd
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import in_threads
from tests.functional.etcd.support import Connect
from tests.functional.etcd.support import at_last
from tests.functional.etcd.support import causes
from tests.functional.etcd.support import every_call
from tests.functional.etcd.support import unavailable
from tmpl_glance_store.catalog.contract import Put


def test_without_etcd_everything_is_unavailable_until_it_is_back(
    single: Etcd, connect: Connect
) -> None:
    (member,) = single.members
    store = connect(single.url)
    store.commit([], [Put('/a', b'1')])
    seen = store.get('/a')
    for end in (member.stop, member.kill):
        end()
        for call in every_call(store) * 3:
            error = unavailable(call)
            assert f'etcd {member.url}: ' in str(error)
            assert 'refused' in str(error)
            assert any(
                isinstance(cause, ConnectionRefusedError)
                for cause in causes(error)
            )
        single.start(member)
        assert store.get('/a') == seen


def test_a_lease_outlives_a_restart(single: Etcd, connect: Connect) -> None:
    store = connect(single.url)
    lease = store.grant(PATIENCE)
    store.commit([], [Put('/a', b'1', lease)])
    single.members[0].kill()
    single.start(*single.members)
    assert store.get('/a').value == b'1'
    assert store.keep_alive(lease)
    store.revoke(lease)
    assert store.get('/a') is None


def test_an_etcd_that_hangs_is_unavailable_in_bounded_time(
    single: Etcd, connect: Connect
) -> None:
    (member,) = single.members
    store = connect(single.url)
    calls = every_call(store)
    store.commit([], [Put('/a', b'1')])
    member.pause()
    errors = in_threads(*[lambda c=call: unavailable(c) for call in calls])
    assert all('timed out' in str(error) for error in errors)
    member.resume()
    # What was asked may have been done all the same.
    assert at_last(lambda: store.get('/a')).value in (b'1', b'2')
    assert at_last(lambda: store.commit([], [Put('/a', b'3')]))
    assert store.get('/a').value == b'3'
