# SPDX-License-Identifier: Apache-2.0
"""Tokens for a user's password; the members are functions here."""

import pathlib

import pytest
import requests

from tmpl_glance_store.catalog.etcd import auth

URL = 'https://etcd-1:2379/v3/kv/range'


class Member:
    """Answers requests as etcd does, and gives out tokens."""

    def __init__(self) -> None:
        self.logins: list[tuple[str, str, str]] = []
        self.sent: list[str] = []
        self.reason: str | None = None

    def authenticate(self, url: str, user: str, password: str) -> str:
        """Return a new token."""
        self.logins.append((url, user, password))
        return f'token-{len(self.logins)}'

    def send(
        self, request: requests.PreparedRequest, **how: object
    ) -> requests.Response:
        """Answer a request; refuse it once for the reason that is set."""
        self.sent.append(request.headers['Authorization'])
        response = requests.Response()
        response.request = request
        response.status_code = 401 if self.reason else 200
        response._content = (self.reason or '{}').encode()
        response.connection = self  # type: ignore[attr-defined]
        self.reason = None
        for hook in request.hooks['response']:
            response = hook(response, **how) or response
        return response


@pytest.fixture
def member() -> Member:
    """A member."""
    return Member()


@pytest.fixture
def password_file(tmp_path: pathlib.Path) -> pathlib.Path:
    """The file with the password."""
    path = tmp_path / 'password'
    path.write_text('first\n')
    return path


@pytest.fixture
def tokens(member: Member, password_file: pathlib.Path) -> auth.TokenAuth:
    """What gives requests their tokens."""
    return auth.TokenAuth('tmpl', str(password_file), member.authenticate)


def ask(tokens: auth.TokenAuth, member: Member) -> int:
    """Send a request; return the status of its answer."""
    request = requests.Request('POST', URL, auth=tokens).prepare()
    return member.send(request).status_code


def test_requests_share_a_token(
    tokens: auth.TokenAuth, member: Member
) -> None:
    assert [ask(tokens, member) for _ in range(2)] == [200, 200]
    assert member.sent == ['token-1', 'token-1']
    assert member.logins == [('https://etcd-1:2379', 'tmpl', 'first')]


@pytest.mark.parametrize('reason', auth._ENDED)
def test_a_request_whose_token_has_ended_is_sent_again(
    tokens: auth.TokenAuth, member: Member, reason: str
) -> None:
    ask(tokens, member)
    member.reason = reason
    assert ask(tokens, member) == 200
    assert member.sent[1:] == ['token-1', 'token-2']


def test_what_a_user_may_not_is_refused_at_once(
    tokens: auth.TokenAuth, member: Member
) -> None:
    member.reason = 'etcdserver: permission denied'
    assert ask(tokens, member) == 401
    assert member.sent == ['token-1']


def test_a_forgotten_token_is_asked_for_anew_with_the_password_of_now(
    tokens: auth.TokenAuth, member: Member, password_file: pathlib.Path
) -> None:
    ask(tokens, member)
    password_file.write_text('second\nnot this\n')
    tokens.forget()
    ask(tokens, member)
    assert [password for _, _, password in member.logins] == [
        'first',
        'second',
    ]


def test_a_password_file_that_is_gone_is_named(
    tokens: auth.TokenAuth, member: Member, password_file: pathlib.Path
) -> None:
    password_file.unlink()
    with pytest.raises(ValueError, match='password_file'):
        ask(tokens, member)
