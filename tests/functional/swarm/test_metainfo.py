# SPDX-License-Identifier: Apache-2.0
"""The metainfo, with a real CA in it."""

import pytest

pytest.importorskip('libtorrent')

from harness.contents import content
from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import identity
from tmpl_glance_store.swarm import metainfo


class TestMetainfo:
    def test_it_is_the_same_on_every_node(self, template, files):
        ca = identity.prove(files)

        first, second = (
            metainfo.metainfo(template.template, template.pieces, ca)
            for _ in range(2)
        )

        assert first == second

    def test_pieces_that_do_not_prove_the_digest_are_refused(self, template):
        flipped = bytes((template.pieces[0] ^ 1, *template.pieces[1:]))

        for pieces in (
            flipped,
            template.pieces[:-32],
            b'',
            template.pieces + bytes(32),
        ):
            with pytest.raises(exceptions.CorruptCopy):
                metainfo.metainfo(template.template, pieces, None)

    def test_an_empty_template_is_refused(self):
        with pytest.raises(exceptions.Invalid):
            metainfo.metainfo(content(b'').template, b'', None)
