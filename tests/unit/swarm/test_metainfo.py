# SPDX-License-Identifier: Apache-2.0
"""The metainfo of a template, as libtorrent reads it."""

import libtorrent as lt
import pytest

from harness import contents
from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import metainfo


@pytest.mark.parametrize('size', [1, 300_000])
def test_libtorrent_reads_the_template_in_it(size: int) -> None:
    what = contents.content(b'x' * size)
    info = lt.torrent_info(
        lt.bdecode(metainfo.metainfo(what.template, what.pieces, None))
    )
    assert info.files().file_size(0) == size
    assert info.piece_length() == what.template.piece_size
    assert info.name() == metainfo.NAME
    assert info.priv()


def test_the_ca_is_part_of_it() -> None:
    what = contents.content(b'x')
    text = metainfo.metainfo(what.template, what.pieces, b'CA')
    assert b'8:ssl-cert2:CA' in text


@pytest.mark.parametrize('pieces', [b'', bytes(64), bytes(96)])
def test_pieces_that_do_not_prove_the_digest_are_refused(
    pieces: bytes,
) -> None:
    with pytest.raises(exceptions.CorruptCopy):
        metainfo.metainfo(
            contents.content(b'x' * 300_000).template, pieces, None
        )


def test_an_empty_template_is_refused() -> None:
    with pytest.raises(exceptions.Invalid):
        metainfo.metainfo(contents.content(b'').template, b'', None)


def test_keys_are_sorted_and_lengths_are_told() -> None:
    assert (
        metainfo.bencode({'b': 1, b'a': {'c': b'xy'}, 'aa': -7})
        == b'd1:ad1:c2:xye2:aai-7e1:bi1ee'
    )
