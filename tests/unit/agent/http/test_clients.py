# SPDX-License-Identifier: Apache-2.0
"""What the certificate of a client lets it ask for."""

from typing import Any

import pytest

from tests.unit.agent.http.node import DIGEST
from tests.unit.agent.http.node import Node
from tests.unit.agent.http.node import data
from tmpl_glance_store.agent.http import clients

PATHS = (
    data(),
    f'/v1/templates/{DIGEST}/pieces',
    '/v1/status',
    '/metrics',
    '/healthz',
)


class Shown:
    """The socket of a client that has shown a certificate."""

    def __init__(self, *names: tuple[str, str]) -> None:
        self._names = names

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the certificate."""
        if binary_form:
            return repr(self._names).encode()
        return {'subject': (), 'subjectAltName': self._names}


@pytest.mark.parametrize(
    ('names', 'may_read', 'may_watch'),
    [
        ([('DNS', 'n1'), ('DNS', 'tmpl-agent')], True, True),
        ([('DNS', 'TMPL-Agent')], True, True),
        ([('DNS', 'tmpl-metrics')], False, True),
        ([('DNS', 'etcd1'), ('IP Address', '192.0.2.1')], False, False),
        ([('URI', 'tmpl-agent'), ('email', 'tmpl-agent')], False, False),
        ([('DNS', '*'), ('DNS', 'tmpl-*')], False, False),
        ([], False, False),
    ],
)
def test_the_dns_names_of_a_certificate_tell_what_it_is_for(
    names: list[tuple[str, str]], may_read: bool, may_watch: bool
) -> None:
    found = clients.Client.proved(Shown(*names))
    assert (found.may_read, found.may_watch) == (may_read, may_watch)


def test_each_certificate_is_a_client_of_its_own() -> None:
    one, same, other = (
        clients.Client.proved(Shown(('DNS', name))) for name in 'aab'
    )
    assert one.key == same.key != other.key


@pytest.mark.parametrize(
    ('caller', 'allowed'),
    [
        (clients.Client('a', may_read=True, may_watch=True), PATHS),
        (clients.Client('a', may_watch=True), PATHS[3:]),
        (clients.Client('a'), ()),
        (None, ()),
    ],
)
def test_what_a_client_may_not_ask_for_is_refused_and_counted(
    node: Node, caller: clients.Client | None, allowed: tuple[str, ...]
) -> None:
    node.caller = caller
    codes = {path: node.get(path).status_code for path in PATHS}
    assert codes == {path: 200 if path in allowed else 403 for path in PATHS}
    refused = node.value('tmpl_api_refused_total', reason='forbidden')
    assert (refused or 0) == len(PATHS) - len(allowed)


def test_a_stranger_is_not_told_which_templates_there_are(node: Node) -> None:
    node.caller = clients.NOBODY
    assert node.get(data('ef' * 32)).status_code == 403
