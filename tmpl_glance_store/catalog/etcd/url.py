# SPDX-License-Identifier: Apache-2.0
"""The catalog's URL: where the members are, and how they are spoken to."""

import dataclasses
import re
import ssl
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Self

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import tls
from tmpl_glance_store.catalog.etcd import auth

_URL = re.compile(r'etcd\+(https?)://([^/?#]+)/?(?:\?([^#]*))?')
_HOST = re.compile(
    r'(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))'
    r':([0-9]{1,5})'
)
_OPTIONS = {'ca', 'cert', 'key', 'user', 'password_file'}


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a member listens."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{self.scheme}://{host}:{self.port}'

    @classmethod
    def of(cls, url: str) -> Self:
        """Return where the member at *url* listens.

        :raises ValueError: if it is not ``scheme://host:port`` and a path
        """
        parts = urllib.parse.urlsplit(url)
        match = _HOST.fullmatch(parts.netloc)
        if match is None:
            raise ValueError(f'{url!r} has no host:port')
        return cls(parts.scheme, match[1] or match[2], int(match[3]))


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """Who speaks to etcd, and the file with the password."""

    name: str
    password_file: str


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """What a URL says: the members, the files for TLS by name, the user."""

    endpoints: tuple[Endpoint, ...]
    tls: Mapping[str, str]
    user: User | None


def parse(url: str) -> Address:
    """Return what the catalog's URL says; see the driver for its form.

    :raises BadConfiguration: if the URL has another form, or its files are
        not what they should be
    """
    match = _URL.fullmatch(url)
    if not match:
        raise _bad(
            url,
            'it is not etcd+http://host:port[,host:port…] or '
            'etcd+https://host:port[,host:port…]',
        )
    scheme, hosts, query = match.groups()
    endpoints = tuple(
        _endpoint(url, scheme, host) for host in hosts.split(',')
    )
    options = _options(url, query or '')
    user = _user(url, options, endpoints)
    return Address(endpoints, _tls(url, scheme, options), user)


def _endpoint(url: str, scheme: str, text: str) -> Endpoint:
    match = _HOST.fullmatch(text)
    if not match or not 0 < int(match[3]) < 1 << 16:
        raise _bad(url, f'{text!r} is not host:port')
    return Endpoint(scheme, match[1] or match[2], int(match[3]))


def _options(url: str, query: str) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query)
        )
    except ValueError as exc:
        raise _bad(url, str(exc)) from exc
    options = dict(pairs)
    if len(options) < len(pairs) or options.keys() - _OPTIONS:
        raise _bad(
            url,
            'the options are ca, cert, key, user and password_file, each once',
        )
    return options


def _user(
    url: str, options: dict[str, str], endpoints: Sequence[Endpoint]
) -> User | None:
    """Take the user and the password's file out of *options*."""
    user = options.pop('user', None)
    path = options.pop('password_file', None)
    if user is None and path is None:
        return None
    if not (user and path):
        raise _bad(url, 'user and password_file need each other')
    if not all(
        each.scheme == 'https'
        or each.host == 'localhost'
        or tls.is_loopback(each.host)
        for each in endpoints
    ):
        raise _bad(url, 'a password is sent over https only')
    try:
        auth.read_password(path)
        fsutil.require_private(path)
    except (OSError, ValueError) as exc:
        raise _bad(url, str(exc)) from exc
    return User(user, path)


def _tls(url: str, scheme: str, tls: dict[str, str]) -> dict[str, str]:
    if tls and scheme != 'https':
        raise _bad(url, 'only etcd+https:// has ca, cert and key')
    if ('cert' in tls) != ('key' in tls):
        raise _bad(url, 'cert and key need each other')
    _check_files(url, tls)
    return tls


def _check_files(url: str, tls: Mapping[str, str]) -> None:
    try:
        for path in tls.values():
            with open(path, 'rb'):
                pass  # ssl would not name the file
        if 'key' in tls:
            fsutil.require_private(tls['key'])
        context = ssl.create_default_context(cafile=tls.get('ca'))
        if 'cert' in tls:
            # A password would be asked for at the terminal.
            context.load_cert_chain(tls['cert'], tls['key'], password='')
    except (OSError, ValueError) as exc:
        raise _bad(url, f'ca, cert and key: {exc}') from exc


def _bad(url: str, why: str) -> exceptions.BadConfiguration:
    return exceptions.BadConfiguration(f'tmpl_store_catalog: {url!r}: {why}')
