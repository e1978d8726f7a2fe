# SPDX-License-Identifier: Apache-2.0
"""What an error of etcd, of etcd3gw or of requests means for a request."""

import json

import pytest
import requests
import urllib3
from etcd3gw import exceptions as etcd_exceptions

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog.etcd import failures
from tmpl_glance_store.catalog.etcd import url as etcd_url

HERE = etcd_url.Endpoint('http', '127.0.0.1', 2379)


def answered(said: object) -> failures.Failure:
    """Return the failure that an answer over HTTP is."""
    return failures.Failure(
        HERE, etcd_exceptions.Etcd3Exception(json.dumps(said), 'Bad Request')
    )


@pytest.mark.parametrize('code', [1, 2, 4, 13, 14])
def test_a_member_in_trouble_says_nothing_of_the_request(code: int) -> None:
    assert answered({'code': code, 'message': 'm'}).in_trouble


@pytest.mark.parametrize('code', [5, 7, 11])
def test_what_a_member_refuses_it_refuses_for_all(code: int) -> None:
    failure = answered({'code': code, 'message': 'm'})
    assert not failure.in_trouble
    assert failure.code == code
    assert str(failure) == f'etcd {HERE}: m'


def test_an_error_in_a_stream_has_a_code_too() -> None:
    for name in ('grpc_code', 'code'):
        failure = answered({'error': {name: 14, 'message': 'm'}})
        assert (failure.code, failure.in_trouble) == (14, True)


def test_an_election_is_told_from_other_trouble() -> None:
    waiting = answered({'code': 14, 'message': 'etcdserver: no leader'})
    assert waiting.in_election
    assert waiting.untouched
    changed = answered({'code': 14, 'message': 'etcdserver: leader changed'})
    assert changed.in_election
    assert not changed.untouched
    assert not answered({'code': 14, 'message': 'm'}).in_election


def test_an_answer_of_another_server_is_shown() -> None:
    for text in ('<html>not found</html>', '[]', ''):
        failure = failures.Failure(
            HERE, etcd_exceptions.Etcd3Exception(text, 'Not Found')
        )
        assert failure.code is None
        assert failure.in_trouble
        assert (text or 'Not Found') in str(failure)


def test_a_connection_that_was_never_made_has_done_nothing() -> None:
    refused = urllib3.exceptions.NewConnectionError(
        None,  # type: ignore[arg-type]
        'refused',
    )
    failure = failures.Failure(
        HERE,
        requests.ConnectionError(
            urllib3.exceptions.MaxRetryError(
                None,  # type: ignore[arg-type]
                '/',
                refused,
            )
        ),
    )
    assert failure.untouched
    assert not failure.timed_out


@pytest.mark.parametrize(
    'error',
    [requests.ReadTimeout('late'), etcd_exceptions.ConnectionTimeoutError()],
)
def test_a_member_that_does_not_answer_may_have_done_it(
    error: Exception,
) -> None:
    failure = failures.Failure(HERE, error)
    assert failure.timed_out
    assert failure.in_trouble
    assert not failure.untouched


@pytest.mark.parametrize(
    'error',
    [
        ValueError('no JSON'),
        requests.ConnectionError('reset'),
        etcd_exceptions.Etcd3Exception('gone', 'Gone'),
    ],
)
def test_foreign_errors_become_unavailable(error: Exception) -> None:
    with pytest.raises(exceptions.Unavailable) as caught:  # noqa: SIM117
        with failures.translated(HERE):
            raise error
    assert caught.value.__cause__ is error


def test_what_is_no_failure_passes() -> None:
    with pytest.raises(KeyError), failures.translated(HERE):
        raise KeyError('a mistake of ours')


def test_the_failure_of_all_tells_of_each() -> None:
    every = failures.AllFailed(
        [
            answered({'code': 14, 'message': 'etcdserver: no leader'}),
            answered({'code': 13, 'message': 'broken'}),
        ]
    )
    assert every.in_election
    assert 'no leader' in str(every)
    assert 'broken' in str(every)
