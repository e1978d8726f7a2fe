# SPDX-License-Identifier: Apache-2.0
"""Mutual TLS between nodes."""

import contextlib
import dataclasses
import http.client
import shutil
import ssl
import warnings

import pytest

from harness import certificates
from tests.functional.remote.nodes import LARGE
from tests.functional.remote.nodes import LONG
from tests.functional.remote.nodes import SIZE
from tests.functional.remote.nodes import Node
from tests.functional.remote.nodes import Stored
from tests.functional.remote.nodes import read
from tests.functional.remote.nodes import status
from tests.functional.remote.nodes import wait_until
from tmpl_glance_store import exceptions
from tmpl_glance_store import tls
from tmpl_glance_store.remote import templates


def test_with_tls_a_read_gives_the_content(
    stored: Stored, secure_node: Node, files: tls.Files
) -> None:
    sent = secure_node.value('sent_bytes_total')
    assert (
        read(stored, secure_node.url, context=tls.client(files))
        == stored.content
    )
    assert secure_node.value('sent_bytes_total') - sent == SIZE


def test_with_tls_the_next_holder_goes_on_where_one_fails(
    large: Stored, files: tls.Files
) -> None:
    with (
        Node(large.root, files=files) as first,
        Node(large.root, '127.0.0.2', files=files) as second,
    ):
        chunks = iter(
            templates.RemoteTemplates(
                context=tls.client(files), timeout=LONG
            ).open(large.template, [first.url, second.url])
        )
        begin = next(chunks)
        first.api.stop(grace=0)
        assert b''.join([begin, *chunks]) == large.content
        assert 0 < second.value('sent_bytes_total') < LARGE


def test_names_work_as_addresses_do(
    stored: Stored, secure_node: Node, files: tls.Files
) -> None:
    port = secure_node.api.address[1]
    assert (
        read(stored, f'https://localhost:{port}', context=tls.client(files))
        == stored.content
    )


def refusals(node: Node) -> float:
    return node.value('refused_total', reason='handshake')


def test_a_client_of_another_ca_is_refused(
    stored: Stored, secure_node: Node, files: tls.Files, foreigner: tls.Files
) -> None:
    before = refusals(secure_node)
    client = tls.client(dataclasses.replace(foreigner, ca=files.ca))
    with pytest.raises(exceptions.Unavailable):
        read(stored, secure_node.url, context=client)
    wait_until(lambda: refusals(secure_node) == before + 1)


def test_a_client_without_a_certificate_is_refused(
    stored: Stored, secure_node: Node, files: tls.Files
) -> None:
    before = refusals(secure_node)
    client = http.client.HTTPSConnection(
        *secure_node.api.address,
        timeout=LONG,
        context=ssl.create_default_context(cafile=files.ca),
    )
    with (
        contextlib.closing(client),
        pytest.raises(OSError, match=r'(?i)alert|reset|closed|pipe|eof'),
    ):
        status(client, stored.path)
    wait_until(lambda: refusals(secure_node) == before + 1)


@pytest.mark.parametrize(
    ('name', 'codes'),
    [
        (tls.NODE, [200, 200, 200, 200]),
        (tls.METRICS, [403, 403, 200, 200]),
        ('*', [403, 403, 403, 403]),
    ],
)
def test_a_certificate_is_good_for_what_its_dns_name_says(
    stored: Stored,
    secure_node: Node,
    authority: certificates.Authority,
    name: str,
    codes: list[int],
) -> None:
    files = authority.node('client', name)
    before = secure_node.value('refused_total', reason='forbidden')
    assert [
        secure_node.ask_with(files, path)
        for path in (stored.path, '/v1/status', '/metrics', '/healthz')
    ] == codes
    after = secure_node.value('refused_total', reason='forbidden')
    assert after - before == codes.count(403)


def test_a_client_without_tls_is_refused(secure_node: Node) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        secure_node.ask()


def test_an_old_tls_is_refused(secure_node: Node, files: tls.Files) -> None:
    context = tls.client(files).get()
    # The client is allowed to; only our server refuses.
    context.set_ciphers('ALL:@SECLEVEL=0')
    with warnings.catch_warnings(action='ignore'):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        secure_node.connect() as sock,
        pytest.raises(ssl.SSLError, match=r'(?i)protocol.version'),
    ):
        context.wrap_socket(sock, server_hostname='127.0.0.1')


def test_a_server_of_another_ca_is_refused(
    stored: Stored, secure_node: Node, files: tls.Files, foreigner: tls.Files
) -> None:
    mixed = dataclasses.replace(foreigner, ca=files.ca)
    with Node(stored.root, '127.0.0.2', files=mixed) as foreign:
        with pytest.raises(
            exceptions.Unavailable, match='CERTIFICATE_VERIFY_FAILED'
        ):
            read(stored, foreign.url, context=tls.client(files))
        assert (
            read(
                stored, foreign.url, secure_node.url, context=tls.client(files)
            )
            == stored.content
        )
        assert foreign.value('sent_bytes_total') == 0


def test_a_server_whose_certificate_has_expired_is_refused(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    expired = authority.node('expired', '127.0.0.1', days=-1)
    with (
        Node(stored.root, files=expired) as node,
        pytest.raises(exceptions.Unavailable, match='expired'),
    ):
        read(stored, node.url, context=tls.client(files))


def test_a_server_at_another_address_than_its_own_is_refused(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    other = authority.node('other', '127.0.0.9')
    with Node(stored.root, files=other) as node:
        with pytest.raises(exceptions.Unavailable, match='IP address'):
            read(stored, node.url, context=tls.client(files))
        lax = tls.client(files, verify_host=False)
        assert read(stored, node.url, context=lax) == stored.content


def test_with_tls_no_holder_without_is_called(
    stored: Stored, node: Node, files: tls.Files
) -> None:
    with pytest.raises(exceptions.Unavailable, match='does not use TLS'):
        read(stored, node.url, context=tls.client(files))


def test_a_renewed_certificate_is_used_without_a_restart(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    old = authority.node('renewed', '127.0.0.9')
    with Node(stored.root, files=old) as node:
        with pytest.raises(exceptions.Unavailable):
            read(stored, node.url, context=tls.client(files))
        assert authority.node('renewed', '127.0.0.1') == old
        assert (
            read(stored, node.url, context=tls.client(files)) == stored.content
        )


def test_a_certificate_without_its_key_changes_nothing(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    half = authority.node('half', tls.NODE, '127.0.0.1')
    with Node(stored.root, files=half) as node:
        client = tls.client(half)
        shutil.copy(files.certificate, half.certificate)
        assert read(stored, node.url, context=client) == stored.content


def test_a_revoked_client_is_refused_without_a_restart(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    stolen = authority.node('stolen', tls.NODE)
    crl = authority.revoke()
    with Node(stored.root, files=dataclasses.replace(files, crl=crl)) as node:
        assert node.ask_with(stolen, stored.path) == 200
        before = refusals(node)
        authority.revoke(stolen)
        with pytest.raises((OSError, http.client.HTTPException)):
            node.ask_with(stolen, stored.path)
        wait_until(lambda: refusals(node) == before + 1)
        assert node.ask_with(files, stored.path) == 200


def test_a_connection_of_before_a_revocation_ends_after_its_request(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    crl = authority.revoke()
    with Node(stored.root, files=dataclasses.replace(files, crl=crl)) as node:
        client = http.client.HTTPSConnection(
            *node.api.address, timeout=LONG, context=tls.client(files).get()
        )
        with contextlib.closing(client):
            client.request('GET', '/healthz')
            answer = client.getresponse()
            answer.read()
            assert not answer.will_close
            authority.revoke(authority.node('some'))
            client.request('GET', '/healthz')
            assert client.getresponse().will_close


def test_a_revoked_holder_is_not_read_from(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    lost = authority.node('lost', tls.NODE, '127.0.0.1')
    reader = dataclasses.replace(files, crl=authority.revoke(lost))
    with (
        Node(stored.root, files=lost) as node,
        pytest.raises(exceptions.Unavailable, match='revoked'),
    ):
        read(stored, node.url, context=tls.client(reader))


def test_a_list_that_has_expired_lets_nobody_in(
    stored: Stored, authority: certificates.Authority, files: tls.Files
) -> None:
    old = dataclasses.replace(files, crl=authority.revoke(days=-1))
    with (
        Node(stored.root, files=old) as node,
        pytest.raises((OSError, http.client.HTTPException)),
    ):
        node.ask_with(files, stored.path)
