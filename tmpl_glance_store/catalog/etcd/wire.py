# SPDX-License-Identifier: Apache-2.0
"""What is sent to etcd's JSON gateway, and received: values to values."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from etcd3gw import exceptions as etcd_exceptions

from tmpl_glance_store.catalog import contract

_PERMISSION_DENIED = 7  # gRPC's code


def message(line: bytes) -> dict[str, Any]:
    """Return what a line of a stream says."""
    message = json.loads(line)
    if 'error' in message:
        raise etcd_exceptions.Etcd3Exception(line.decode(), 'error')
    result: dict[str, Any] = message.get('result', {})
    if result.get('canceled'):
        raise etcd_exceptions.Etcd3Exception(
            _cancellation(result), 'cancelled'
        )
    return result


def _cancellation(result: Mapping[str, Any]) -> str:
    """Return why a watch was cancelled, like any other answer of etcd."""
    reason = result.get('cancel_reason') or 'its revision was compacted'
    text = f'the watch was cancelled: {reason}'
    # Of gRPC's code, only the name comes along.
    if 'code = PermissionDenied' in reason:
        return json.dumps({'code': _PERMISSION_DENIED, 'message': text})
    return text


def encode(key: str | bytes) -> str:
    # etcd3gw's own would take a str as Latin-1.
    data = key.encode() if isinstance(key, str) else key
    return base64.b64encode(data).decode()


def decode(data: str) -> bytes:
    return base64.b64decode(data)


def range_of(prefix: str) -> dict[str, Any]:
    start = prefix.encode()
    if not start:
        return {'key': encode('\0'), 'range_end': encode('\0')}  # all
    # UTF-8 has no byte 255 that would overflow.
    end = start[:-1] + bytes([start[-1] + 1])
    return {'key': encode(start), 'range_end': encode(end)}


def watch_request(prefix: str) -> dict[str, Any]:
    return {'create_request': {**range_of(prefix), 'progress_notify': True}}


def _text(key: str) -> str:
    """Return a key; one that is not UTF-8 is nobody's, and stops nobody."""
    return decode(key).decode(errors='surrogateescape')


def entry(kv: Mapping[str, str]) -> contract.Entry:
    return contract.Entry(
        _text(kv['key']),
        decode(kv.get('value', '')),
        int(kv['mod_revision']),
    )


def change(event: Mapping[str, Any]) -> contract.Change:
    kv = event['kv']
    deleted = event.get('type') == 'DELETE'
    return contract.Change(
        _text(kv['key']),
        None if deleted else decode(kv.get('value', '')),
        int(kv['mod_revision']),
    )


def comparison(compare: contract.Compare) -> dict[str, Any]:
    return {
        'key': encode(compare.key),
        'target': 'MOD',
        'result': 'EQUAL',
        'mod_revision': compare.revision,
    }


def operation(write: contract.Put | contract.Delete) -> dict[str, Any]:
    if isinstance(write, contract.Delete):
        return {'request_delete_range': {'key': encode(write.key)}}
    return {
        'request_put': {
            'key': encode(write.key),
            'value': encode(write.value),
            'lease': write.lease or 0,
        }
    }
