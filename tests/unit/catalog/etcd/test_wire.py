# SPDX-License-Identifier: Apache-2.0
"""What is sent to etcd's gateway, and received."""

import json

import pytest
from etcd3gw import exceptions as etcd_exceptions

from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog.etcd import failures
from tmpl_glance_store.catalog.etcd import wire


@pytest.mark.parametrize('text', ['/a', '/ключ', '', '\U0010ffff'])
def test_a_key_comes_back_as_it_was(text: str) -> None:
    assert wire.decode(wire.encode(text)).decode() == text


def test_a_range_ends_before_the_next_prefix() -> None:
    asked = wire.range_of('/a/')
    assert wire.decode(asked['key']) == b'/a/'
    assert wire.decode(asked['range_end']) == b'/a0'


def test_the_empty_prefix_is_everything() -> None:
    asked = wire.range_of('')
    assert wire.decode(asked['key']) == b'\0'
    assert wire.decode(asked['range_end']) == b'\0'


def test_an_entry_has_its_revision_and_may_be_empty() -> None:
    kv = {'key': wire.encode('/a'), 'mod_revision': '7'}
    assert wire.entry(kv) == contract.Entry('/a', b'', 7)
    kv['value'] = wire.encode(b'\xff')
    assert wire.entry(kv) == contract.Entry('/a', b'\xff', 7)


def test_a_change_is_a_value_or_a_deletion() -> None:
    kv = {
        'key': wire.encode('/a'),
        'value': wire.encode('1'),
        'mod_revision': '7',
    }
    assert wire.change({'kv': kv}) == contract.Change('/a', b'1', 7)
    assert wire.change({'kv': kv, 'type': 'DELETE'}) == contract.Change(
        '/a', None, 7
    )


def test_a_comparison_is_of_the_revision() -> None:
    assert wire.comparison(contract.Compare('/a', 3)) == {
        'key': wire.encode('/a'),
        'target': 'MOD',
        'result': 'EQUAL',
        'mod_revision': 3,
    }


def test_a_write_is_a_put_or_a_deletion() -> None:
    put = wire.operation(contract.Put('/a', b'1'))['request_put']
    assert (put['key'], put['value'], put['lease']) == (
        wire.encode('/a'),
        wire.encode('1'),
        0,
    )
    put = wire.operation(contract.Put('/a', b'1', 9))['request_put']
    assert put['lease'] == 9
    assert wire.operation(contract.Delete('/a')) == {
        'request_delete_range': {'key': wire.encode('/a')}
    }


def test_a_message_is_its_result() -> None:
    line = json.dumps({'result': {'created': True}}).encode()
    assert wire.message(line) == {'created': True}
    assert wire.message(b'{}') == {}


@pytest.mark.parametrize(
    ('said', 'reason'),
    [
        ({'error': {'grpc_code': 14, 'message': 'no leader'}}, 'no leader'),
        ({'result': {'canceled': True}}, 'compacted'),
        ({'result': {'canceled': True, 'cancel_reason': 'auth'}}, 'auth'),
    ],
)
def test_a_stream_that_breaks_off_says_why(
    said: dict[str, object], reason: str
) -> None:
    with pytest.raises(etcd_exceptions.Etcd3Exception) as caught:
        wire.message(json.dumps(said).encode())
    assert reason in caught.value.detail_text


def test_a_watch_that_the_user_may_not_have_is_told_from_a_lost_one() -> None:
    def cancelled(reason: str) -> str:
        line = json.dumps(
            {'result': {'canceled': True, 'cancel_reason': reason}}
        )
        with pytest.raises(etcd_exceptions.Etcd3Exception) as caught:
            wire.message(line.encode())
        return str(caught.value.detail_text)

    refused = cancelled('rpc error: code = PermissionDenied desc = etcdserver')
    assert json.loads(refused)['code'] == failures.PERMISSION_DENIED
    assert cancelled('') == (
        'the watch was cancelled: its revision was compacted'
    )
