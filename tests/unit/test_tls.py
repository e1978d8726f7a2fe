# SPDX-License-Identifier: Apache-2.0
"""The rule of what needs mutual TLS, and the options that name its files."""

import dataclasses
import os
import pathlib
import ssl

import pytest

from harness.certificates import Authority
from tmpl_glance_store import exceptions
from tmpl_glance_store import tls


@pytest.mark.parametrize('host', ['127.0.0.1', '127.9.9.9', '::1'])
def test_what_stays_on_this_machine_needs_no_tls(host: str) -> None:
    tls.require(host, 'it', secure=False)


@pytest.mark.parametrize(
    'host', ['0.0.0.0', '::', '192.0.2.1', '2001:db8::1', 'localhost', '']
)
def test_everything_else_needs_it(host: str) -> None:
    with pytest.raises(
        exceptions.BadConfiguration, match=r'it on .*tmpl_store_tls_ca'
    ):
        tls.require(host, 'it', secure=False)
    tls.require(host, 'it', secure=True)


def test_without_the_three_options_there_are_no_files() -> None:
    assert tls.Files.read(None, '', None) is None


def test_with_all_three_there_are() -> None:
    assert tls.Files.read('a', 'b', 'c') == tls.Files('a', 'b', 'c')


@pytest.mark.parametrize(
    ('values', 'missing'),
    [
        (('a', None, None), 'tls_certificate, tmpl_store_tls_key: not set'),
        (('a', 'b', ''), '^tmpl_store_tls_key: not set'),
        ((None, 'b', 'c'), '^tmpl_store_tls_ca: not set'),
    ],
)
def test_some_of_them_are_refused_and_the_others_named(
    values: tuple[str | None, str | None, str | None], missing: str
) -> None:
    with pytest.raises(exceptions.BadConfiguration, match=missing):
        tls.Files.read(*values)


def test_tls_files_that_cannot_be_used_are_named(
    tmp_path: pathlib.Path,
) -> None:
    files = tls.Files(*(str(tmp_path / name) for name in 'abc'))
    for make in tls.server, tls.client:
        with pytest.raises(
            exceptions.BadConfiguration, match='tmpl_store_tls_ca'
        ):
            make(files)


@pytest.mark.parametrize('mode', [0o644, 0o604, 0o660])
def test_a_key_that_others_can_use_is_refused(
    tmp_path: pathlib.Path, mode: int
) -> None:
    files = Authority(tmp_path).node('n1')
    key = pathlib.Path(files.key)
    for make in tls.server, tls.client:
        key.chmod(0o640)
        make(files)
        key.chmod(mode)
        with pytest.raises(
            exceptions.BadConfiguration, match=f'chmod g-w,o= {key}'
        ):
            make(files)


@pytest.mark.parametrize('name', ['ca.pem', 'n1.key', 'missing.pem'])
def test_a_crl_that_is_none_is_refused(
    tmp_path: pathlib.Path, name: str
) -> None:
    files = Authority(tmp_path).node('n1')
    crl = os.path.join(os.path.dirname(files.ca), name)
    with pytest.raises(
        exceptions.BadConfiguration, match='tmpl_store_tls_crl'
    ):
        tls.server(dataclasses.replace(files, crl=crl))


def test_a_crl_alone_is_refused() -> None:
    with pytest.raises(
        exceptions.BadConfiguration, match=r'tmpl_store_tls_ca.*: not set'
    ):
        tls.Files.read(None, None, None, 'crl')


def test_a_new_crl_changes_the_context_and_one_that_is_none_does_not(
    tmp_path: pathlib.Path,
) -> None:
    authority = Authority(tmp_path)
    files = authority.node('n1')
    crl = authority.revoke()
    context = tls.server(dataclasses.replace(files, crl=crl))
    first = context.get()
    assert context.get() is first
    assert first.verify_flags & ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    authority.revoke(files)
    second = context.get()
    assert second is not first
    pathlib.Path(crl).write_text('no list')
    assert context.get() is second
