# SPDX-License-Identifier: Apache-2.0
"""The etcd catalog as a user with a password, on an etcd that wants one."""

import pathlib
import time
from collections.abc import Callable, Iterator

import pytest

from harness.etcd import Etcd
from tests.contract import keyvalue
from tests.contract.keyvalue import PATIENCE
from tests.contract.keyvalue import eventually
from tests.contract.keyvalue import settle
from tests.functional.etcd.support import require_users
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import roles
from tmpl_glance_store.catalog.contract import KeyValue
from tmpl_glance_store.catalog.contract import Put
from tmpl_glance_store.catalog.etcd import driver

TOKEN_TTL = 1  # seconds without use after which a token ends
USER, PASSWORD = 'tmpl', 'pass word/&1'
WHOLE = [roles.Grant('readwrite', '/tmpl/', '/tmpl0')]


@pytest.fixture(scope='module')
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """An etcd that wants users, and forgets them soon."""
    with Etcd(
        tmp_path_factory.mktemp('etcd'),
        options=['--auth-token-ttl', str(TOKEN_TTL)],
    ) as etcd:
        require_users(etcd, {USER: WHOLE}, PASSWORD)
        yield etcd


@pytest.fixture
def password_file(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file with the password."""
    path = tmp_path / 'password'
    path.write_text(f'{PASSWORD}\n')
    path.chmod(0o600)
    return path


@pytest.fixture
def make_store(
    etcd: Etcd, password_file: pathlib.Path
) -> Iterator[Callable[[], KeyValue]]:
    """Return a function that opens one more handle."""
    opened = []

    def make_store(user: str = USER) -> KeyValue:
        opened.append(
            driver.EtcdKeyValue(
                f'{etcd.url}?user={user}&password_file={password_file}'
            )
        )
        return opened[-1]

    yield make_store
    for each in opened:
        each.close()


class TestEtcdKeyValueAsAUser(keyvalue.KeyValueContract):
    @pytest.fixture
    def make_store(
        self, make_store: Callable[[], KeyValue]
    ) -> Callable[[], KeyValue]:
        return make_store

    @pytest.fixture
    def root(self) -> str:
        return f'/tmpl/{time.monotonic_ns()}/'


def test_a_token_that_has_ended_is_replaced(
    make_store: Callable[[], driver.EtcdKeyValue],
) -> None:
    store = make_store()
    store.commit([], [Put('/tmpl/a', b'1')])
    first = store._auth._token
    store._auth._token = 'ended.1'  # the same as if etcd had forgotten it
    assert store.get('/tmpl/a').value == b'1'
    second = store._auth._token
    assert first != second != 'ended.1'
    store._auth._token = 'ended.1'
    store.commit([], [Put('/tmpl/a', b'2')])
    assert store.get('/tmpl/a').value == b'2'
    # And for real: etcd forgets it if nobody uses it.
    before = store._auth._token

    def renewed() -> bool:
        time.sleep(3 * TOKEN_TTL)
        assert store.get('/tmpl/a').value == b'2'
        return store._auth._token != before

    assert eventually(renewed)


def test_a_watch_opens_again_when_the_token_has_ended(
    make_store: Callable[[], driver.EtcdKeyValue],
) -> None:
    store, other = make_store(), make_store()
    watch = store.watch('/tmpl/')
    settle(watch)
    store._auth._token = 'ended.1'
    watch._stream.stop()
    assert watch.wait(PATIENCE)
    settle(watch)
    other.commit([], [Put('/tmpl/a', b'3')])
    assert watch.wait(PATIENCE)


def test_a_token_is_asked_for_once(
    make_store: Callable[[], driver.EtcdKeyValue],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = make_store()
    asked = []
    authenticate = store._auth._authenticate
    monkeypatch.setattr(
        store._auth,
        '_authenticate',
        lambda *how: (asked.append(how), authenticate(*how))[1],
    )
    keyvalue.in_threads(*[lambda: store.get('/tmpl/a')] * 8)
    assert len(asked) == 1


def test_the_password_may_change_meanwhile(
    make_store: Callable[[], driver.EtcdKeyValue],
    etcd: Etcd,
    password_file: pathlib.Path,
) -> None:
    store = make_store()
    store.get('/tmpl/a')
    password_file.write_text('wrong\n')
    store._auth.forget()
    with pytest.raises(
        exceptions.Unavailable, match='invalid user ID or password'
    ):
        store.get('/tmpl/a')
    password_file.unlink()
    with pytest.raises(exceptions.Unavailable, match='password_file'):
        store.get('/tmpl/a')
    password_file.write_text(f'{PASSWORD}\n')
    store.get('/tmpl/a')


def test_what_the_user_may_not_do_is_forbidden(
    make_store: Callable[[], driver.EtcdKeyValue], etcd: Etcd
) -> None:
    for call in (
        lambda: make_store().get('/other'),
        lambda: make_store().commit([], [Put('/other', b'1')]),
        lambda: make_store().watch('/other'),
    ):
        with pytest.raises(exceptions.Forbidden, match='permission denied'):
            call()
    nobody = driver.EtcdKeyValue(etcd.url)
    with pytest.raises(exceptions.Unavailable, match='user name is empty'):
        nobody.get('/tmpl/a')
    nobody.close()


@pytest.mark.parametrize(
    ('members', 'query', 'why'),
    [
        ('http://127.0.0.1:1', 'user=a', 'need each other'),
        ('http://127.0.0.1:1', 'password_file=FILE', 'need each other'),
        ('http://127.0.0.1:1', 'user=&password_file=FILE', 'need each other'),
        ('http://127.0.0.1:1', 'user=a&password_file=/none', '/none'),
        ('http://127.0.0.1:1', 'user=a&password_file=/dev/null', 'empty line'),
        (
            'http://127.0.0.1:1,192.0.2.1:1',
            'user=a&password_file=FILE',
            'over https only',
        ),
    ],
)
def test_a_wrong_url_is_refused(
    members: str, query: str, why: str, password_file: pathlib.Path
) -> None:
    with pytest.raises(exceptions.BadConfiguration, match=why):
        driver.EtcdKeyValue(
            f'etcd+{members}?' + query.replace('FILE', str(password_file))
        )
