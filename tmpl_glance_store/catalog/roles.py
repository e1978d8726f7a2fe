# SPDX-License-Identifier: Apache-2.0
"""What each user of etcd may do: as little as it needs.

A node can say nothing but what it is like itself, and cannot read which image
is what. So who has taken a node over can neither delete templates, nor speak
for another node, nor put content under another image's id.
"""

import dataclasses
import re
from typing import Literal

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects

Permission = Literal['read', 'write', 'readwrite']


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """A right to keys, in the words of ``etcdctl role grant-permission``.

    Of the keys from ``key`` up to, and without, ``range_end``; of ``key``
    alone if that is empty.
    """

    permission: Permission
    key: str
    range_end: str = ''


def glance(cluster: str) -> list[Grant]:
    """Return what a host of Glance may do, and an operator with it.

    :raises BadConfiguration: if no cluster is called so
    """
    return [_below('readwrite', f'{_root(cluster)}/')]


def node(cluster: str, name: str) -> list[Grant]:
    """Return what the agent of the node *name* may do.

    :raises BadConfiguration: if no cluster, or no node, is called so
    """
    _require('tmpl_store_node', objects.NODE, name)
    state = f'{_root(cluster)}/state'
    return [
        _below('read', f'{state}/'),
        Grant('write', f'{state}/nodes/{name}'),
        _below('write', f'{state}/locations/{name}/'),
        _below('write', f'{state}/copies/{name}/'),
    ]


def reader(cluster: str) -> list[Grant]:
    """Return what one who only looks may do: Nova's scheduler, say.

    :raises BadConfiguration: if no cluster is called so
    """
    return [_below('read', f'{_root(cluster)}/state/')]


def _root(cluster: str) -> str:
    _require('tmpl_store_cluster', objects.CLUSTER, cluster)
    return f'/tmpl/{cluster}/v2'


def _require(option: str, pattern: re.Pattern[str], value: str) -> None:
    # A name with a slash would be a right to other keys.
    if not pattern.fullmatch(value):
        raise exceptions.BadConfiguration(
            f'{option}: {value!a} is not {pattern.pattern}'
        )


def _below(permission: Permission, prefix: str) -> Grant:
    """Return a right to all keys that begin with *prefix*."""
    # UTF-8 keeps the order of characters, and '0' comes after '/'.
    assert prefix.endswith('/')
    return Grant(permission, prefix, f'{prefix[:-1]}0')
