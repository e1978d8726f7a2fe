# SPDX-License-Identifier: Apache-2.0
"""The URL of an etcd."""

import pathlib
import re

import pytest

from harness.certificates import Authority
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog.etcd import url as etcd_url


@pytest.fixture(scope='module')
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The cluster's CA."""
    return Authority(tmp_path_factory.mktemp('tls'))


@pytest.mark.parametrize(
    'url',
    [
        '',
        'etcd',
        'etcd://127.0.0.1:2379',
        'http://127.0.0.1:2379',
        'etcd+ftp://127.0.0.1:2379',
        'etcd+http://',
        'etcd+http://127.0.0.1',
        'etcd+http://127.0.0.1:',
        'etcd+http://127.0.0.1:0',
        'etcd+http://127.0.0.1:65536',
        'etcd+http://127.0.0.1:2379,',
        'etcd+http://127.0.0.1:2379;127.0.0.2:2379',
        'etcd+http://::1:2379',
        'etcd+http://[::1]',
        'etcd+http://me:secret@127.0.0.1:2379',
        'etcd+http://127.0.0.1:2379/v3',
        'etcd+http://127.0.0.1:2379#a',
        'etcd+http://127.0.0.1:2379?timeout=5',
        'etcd+http://127.0.0.1:2379?ca=/dev/null',
        'etcd+https://127.0.0.1:2379?ca',
        'etcd+https://127.0.0.1:2379?ca=/no',
        'etcd+https://127.0.0.1:2379?ca=/dev/null',
        'etcd+https://127.0.0.1:2379?password=a',
    ],
)
def test_another_form_of_url_is_refused(url: str) -> None:
    with pytest.raises(
        exceptions.BadConfiguration,
        match=re.escape(f'tmpl_store_catalog: {url!r}: '),
    ):
        etcd_url.parse(url)


@pytest.mark.parametrize(
    ('url', 'endpoints'),
    [
        ('etcd+http://127.0.0.1:2379', ['http://127.0.0.1:2379']),
        ('etcd+http://127.0.0.1:2379/', ['http://127.0.0.1:2379']),
        (
            'etcd+https://a:1,b.c:2,[::1]:3',
            ['https://a:1', 'https://b.c:2', 'https://[::1]:3'],
        ),
    ],
)
def test_a_url_names_all_members(url: str, endpoints: list[str]) -> None:
    assert [
        str(endpoint) for endpoint in etcd_url.parse(url).endpoints
    ] == endpoints


def query_of(authority: Authority, name: str) -> str:
    """Return what a client with a new certificate adds to its URL."""
    files = authority.node(name)
    return f'?ca={files.ca}&cert={files.certificate}&key={files.key}'


def test_a_url_names_the_files_for_tls(authority: Authority) -> None:
    files = authority.node('named')
    query = f'?ca={files.ca}&cert={files.certificate}&key={files.key}'
    assert etcd_url.parse('etcd+https://127.0.0.1:2379' + query).tls == {
        'ca': files.ca,
        'cert': files.certificate,
        'key': files.key,
    }


def test_a_url_without_a_user_names_none() -> None:
    assert etcd_url.parse('etcd+http://127.0.0.1:2379').user is None


@pytest.fixture
def password_file(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file with a password in its first line."""
    path = tmp_path / 'password'
    path.write_text('secret\n')
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    'hosts', ['etcd+http://localhost:1', 'etcd+http://[::1]:1,127.0.0.2:1']
)
def test_a_user_has_a_password_file(
    hosts: str, password_file: pathlib.Path
) -> None:
    url = f'{hosts}?user=tmpl&password_file={password_file}'
    assert etcd_url.parse(url).user == etcd_url.User(
        'tmpl', str(password_file)
    )


@pytest.mark.parametrize(
    ('url', 'reason'),
    [
        ('etcd+http://127.0.0.1:1?user=a', 'need each other'),
        ('etcd+http://127.0.0.1:1?password_file={file}', 'need each other'),
        ('etcd+http://h:1?user=a&password_file={file}', 'over https only'),
        ('etcd+http://127.0.0.1:1?user=a&password_file=/no', 'No such file'),
        ('etcd+http://127.0.0.1:1?user=a&user=b', 'each once'),
        ('etcd+http://127.0.0.1:1?cert=a', 'only etcd'),
        ('etcd+https://127.0.0.1:1?cert=a', 'cert and key need'),
    ],
)
def test_a_url_that_is_refused_says_why(
    url: str, reason: str, password_file: pathlib.Path
) -> None:
    with pytest.raises(exceptions.BadConfiguration, match=reason):
        etcd_url.parse(url.format(file=password_file))


def test_an_empty_password_is_refused(password_file: pathlib.Path) -> None:
    password_file.write_text('\n')
    with pytest.raises(exceptions.BadConfiguration, match='empty line'):
        etcd_url.parse(
            f'etcd+http://127.0.0.1:1?user=a&password_file={password_file}'
        )


@pytest.mark.parametrize(
    'url', ['https://[::1]:3/v3/kv/range', 'http://a.b:1', 'http://a.b:1/']
)
def test_an_endpoint_is_found_in_a_url(url: str) -> None:
    found = etcd_url.Endpoint.of(url)
    assert url.startswith(str(found))


def test_a_url_without_a_port_names_no_endpoint() -> None:
    with pytest.raises(ValueError, match='host:port'):
        etcd_url.Endpoint.of('http://a.b/')


def test_a_url_with_files_that_do_not_fit_is_refused(
    authority: Authority,
) -> None:
    query = query_of(authority, 'client')
    other = query_of(authority, 'other')
    url = 'etcd+https://127.0.0.1:2379'
    etcd_url.parse(url + query)
    for wrong in (
        query.replace('client.key', 'other.key'),
        query.replace('client.pem', 'missing.pem'),
        query.replace('ca.pem', 'client.key'),
        query.rpartition('&')[0],
        f'{query}&{other[1:]}',
    ):
        with pytest.raises(exceptions.BadConfiguration):
            etcd_url.parse(url + wrong)


@pytest.mark.parametrize('mode', [0o644, 0o604, 0o660])
def test_secrets_that_others_can_use_are_refused(
    authority: Authority, password_file: pathlib.Path, mode: int
) -> None:
    files = authority.node(f'open{mode}')
    for secret, url in (
        (
            password_file,
            f'etcd+http://[::1]:1?user=a&password_file={password_file}',
        ),
        (
            pathlib.Path(files.key),
            f'etcd+https://[::1]:1?cert={files.certificate}&key={files.key}',
        ),
    ):
        secret.chmod(0o640)
        etcd_url.parse(url)
        secret.chmod(mode)
        with pytest.raises(
            exceptions.BadConfiguration, match=f'chmod g-w,o= {secret}'
        ):
            etcd_url.parse(url)
