# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between us and etcd, and what it means for a request."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import requests
import urllib3
from etcd3gw import exceptions as etcd_exceptions

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog.etcd import url as etcd_url

# gRPC's codes in etcd's answers. The first ones (cancelled, unknown, deadline
# exceeded, internal, unavailable) say nothing about the request but that this
# member cannot answer it.
_TROUBLE = {1, 2, 4, 13, 14}
NOT_FOUND, PERMISSION_DENIED, OUT_OF_RANGE = 5, 7, 11
_NO_LEADER = 'etcdserver: no leader'
_LEADER_CHANGED = 'etcdserver: leader changed'


class Failure(exceptions.Unavailable):
    """Why an endpoint did not do what it was asked.

    ``code`` is gRPC's, or None if it was not etcd that answered.
    """

    def __init__(self, endpoint: etcd_url.Endpoint, exc: Exception) -> None:
        answer = _answer(exc)
        reason = answer.get('message') or _reason(exc)
        super().__init__(f'etcd {endpoint}: {reason}')
        self.endpoint = endpoint
        self.code = answer.get('code')
        self.timed_out = self.code is None and isinstance(
            exc, (etcd_exceptions.ConnectionTimeoutError, requests.Timeout)
        )
        self.in_election = reason in (_NO_LEADER, _LEADER_CHANGED)
        #: Another member may do better.
        self.in_trouble = self.code is None or self.code in _TROUBLE
        #: For certain, nothing was done.
        self.untouched = reason == _NO_LEADER or isinstance(
            reason,
            (
                urllib3.exceptions.NewConnectionError,
                urllib3.exceptions.ConnectTimeoutError,
            ),
        )


class AllFailed(exceptions.Unavailable):
    """No endpoint did what it was asked."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__('; '.join(map(str, failures)))
        self.in_election = any(failure.in_election for failure in failures)


@contextlib.contextmanager
def translated(endpoint: etcd_url.Endpoint) -> Iterator[None]:
    """Turn what etcd3gw and requests raise into a :class:`Failure`."""
    try:
        yield
    except (
        etcd_exceptions.Etcd3Exception,
        requests.RequestException,
        ValueError,
    ) as exc:
        raise Failure(endpoint, exc) from exc


def _answer(exc: Exception) -> dict[str, Any]:
    """Return what etcd says is wrong; empty if nothing of etcd is in it."""
    try:
        answer = json.loads(getattr(exc, 'detail_text', None) or '')
    except ValueError:
        return {}
    if not isinstance(answer, dict):
        return {}
    error = answer.get('error')
    if isinstance(error, dict):  # from a stream, which a keep-alive is too
        return {
            'code': error.get('grpc_code', error.get('code')),
            'message': error.get('message'),
        }
    return answer


def _reason(exc: BaseException) -> object:
    """Return what etcd3gw and requests have wrapped up."""
    if isinstance(exc, etcd_exceptions.Etcd3Exception):
        if exc.args:  # an answer over HTTP
            return (exc.detail_text or '').strip()[:200] or exc.args[0]
        exc = exc.__context__ or exc
    inner = exc.args[0] if exc.args else exc
    return getattr(inner, 'reason', inner)
