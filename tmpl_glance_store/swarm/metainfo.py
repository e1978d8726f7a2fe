# SPDX-License-Identifier: Apache-2.0
"""The BitTorrent v2 metainfo of a template, the same on every node.

Source: BEP 52, and BEP 27 for private torrents. ``ssl-cert`` is libtorrent's
(docs/manual, "SSL torrents").
"""

from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls

#: The name of every torrent. libtorrent lets only those peers into an SSL
#: torrent whose certificate carries the torrent's name as a DNS name.
NAME = tls.NODE


def metainfo(
    template: objects.Template, pieces: bytes, ca_pem: bytes | None
) -> bytes:
    """Return the bencoded metainfo of *template*.

    :param pieces: the content of the file ``pieces``
    :param ca_pem: the cluster's CA; the torrent is an SSL torrent then
    :raises CorruptCopy: if *pieces* do not prove the digest
    :raises Invalid: for an empty template, which BEP 52 gives no hash
    """
    if not template.size:
        raise exceptions.Invalid('an empty template cannot be transferred')
    root = bytes.fromhex(template.root)
    try:
        merkle.prove_layer(pieces, template.size, template.piece_size, root)
    except ValueError as exc:
        raise exceptions.CorruptCopy(f'{template.digest}: {exc}') from exc
    info: dict[str, Any] = {
        'file tree': {
            NAME: {'': {'length': template.size, 'pieces root': root}}
        },
        'meta version': 2,
        'name': NAME,
        'piece length': template.piece_size,
        'private': 1,
    }
    if ca_pem is not None:
        info['ssl-cert'] = ca_pem
    # The layer of a single piece would be the root again: BEP 52 omits it.
    layers = {root: pieces} if template.size > template.piece_size else {}
    return bencode({'info': info, 'piece layers': layers})


def bencode(value: Any) -> bytes:
    """Return *value* bencoded (BEP 3)."""
    if isinstance(value, int):
        return b'i%de' % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b'%d:%b' % (len(value), value)
    pairs = sorted(
        (key.encode() if isinstance(key, str) else key, each)
        for key, each in value.items()
    )
    return b'd%be' % b''.join(
        bencode(key) + bencode(each) for key, each in pairs
    )
