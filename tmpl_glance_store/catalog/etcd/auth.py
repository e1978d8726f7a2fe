# SPDX-License-Identifier: Apache-2.0
"""A user and a password for etcd, which gives tokens for them.

See etcd's "Role-based access control": a token comes from the user's password,
and ends when it was not used for minutes, when its member starts anew, or
when permissions change. etcd then refuses a request before it does anything.
"""

import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

import requests
from requests import auth

# What etcd says to a token that has ended, or to none: as its own client, see
# client/v3/retry_interceptor.go.
_ENDED = (
    'etcdserver: invalid auth token',
    'etcdserver: revision of auth store is old',
    'etcdserver: user name is empty',
)


class TokenAuth(auth.AuthBase):
    """Gives each request a token, and a new one if it has ended.

    Threads and connections may share it: a token is good at all members.

    :param user: the name of the user
    :param password_file: read whenever there has to be a new token, so that
        the password may change meanwhile
    :param authenticate: returns a token of the member with this base URL for
        this user and password
    """

    def __init__(
        self,
        user: str,
        password_file: str,
        authenticate: Callable[[str, str, str], str],
    ) -> None:
        self._user = user
        self._password_file = password_file
        self._authenticate = authenticate
        self._lock = threading.Lock()
        self._token: str | None = None

    def __call__(
        self, request: requests.PreparedRequest
    ) -> requests.PreparedRequest:
        with self._lock:
            if self._token is None:
                self._token = self._ask(request)
            request.headers['Authorization'] = self._token
        request.register_hook(  # type: ignore[no-untyped-call]
            'response', self._again
        )
        return request

    def forget(self) -> None:
        """Let the next request begin with a new token.

        A watch whose token has ended is not refused like other requests, but
        as if its user had no permission: it needs a new one.
        """
        with self._lock:
            self._token = None

    def _again(
        self, response: requests.Response, **how: Any
    ) -> requests.Response:
        """Send a request again if its token had ended."""
        if response.status_code not in (
            requests.codes.bad_request,
            requests.codes.unauthorized,
        ):
            return response
        if not any(reason in response.text for reason in _ENDED):
            return response
        response.close()
        request = response.request.copy()
        with self._lock:
            if self._token in (None, request.headers['Authorization']):
                self._token = self._ask(request)
            request.headers['Authorization'] = self._token
        again: requests.Response = response.connection.send(request, **how)
        return again

    def _ask(self, request: requests.PreparedRequest) -> str:
        assert isinstance(request.url, str)
        parts = urllib.parse.urlsplit(request.url)
        return self._authenticate(
            f'{parts.scheme}://{parts.netloc}', self._user, self._password()
        )

    def _password(self) -> str:
        try:
            return read_password(self._password_file)
        except OSError as exc:
            raise ValueError(f'password_file: {exc}') from exc


def read_password(path: str) -> str:
    """Return the first line of a file.

    :raises OSError, ValueError: if it cannot be read, or is empty
    """
    with open(path, encoding='utf-8') as file:
        password = file.readline().rstrip('\r\n')
    if not password:
        raise ValueError(f'password_file: {path} begins with an empty line')
    return password
