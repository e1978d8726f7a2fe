# SPDX-License-Identifier: Apache-2.0
"""Readers that take their time, or go away."""

import pytest

from tests.functional.remote.nodes import LARGE
from tests.functional.remote.nodes import LONG
from tests.functional.remote.nodes import Node
from tests.functional.remote.nodes import Stored
from tests.functional.remote.nodes import read
from tests.functional.remote.nodes import slow_reader
from tests.functional.remote.nodes import wait_until
from tmpl_glance_store import tls
from tmpl_glance_store.remote import templates


def test_a_slow_reader_does_not_hold_up_others(large: Stored) -> None:
    with Node(large.root, threads=2) as node, slow_reader(node, large):
        assert read(large, node.url) == large.content
        assert node.value('streams') == 1


@pytest.mark.parametrize('secure', [False, True])
def test_a_reader_that_takes_nothing_is_cut(
    large: Stored, files: tls.Files, secure: bool
) -> None:
    chosen = files if secure else None
    with (
        Node(large.root, files=chosen, send_timeout=1) as node,
        slow_reader(node, large, chosen),
    ):
        wait_until(lambda: node.value('streams') == 0)
        assert node.value('sent_bytes_total') < LARGE
        wait_until(lambda: node.value('connections') == 0)


@pytest.mark.parametrize('secure', [False, True])
def test_a_reader_that_goes_away_frees_its_thread(
    large: Stored, files: tls.Files, secure: bool
) -> None:
    chosen = files if secure else None
    with Node(large.root, files=chosen, threads=1, send_timeout=LONG) as node:
        with slow_reader(node, large, chosen):
            pass
        wait_until(lambda: node.value('connections') == 0)
        assert node.value('streams') == 0
        assert node.value('sent_bytes_total') < LARGE


def test_a_reader_that_was_cut_goes_on(large: Stored) -> None:
    with Node(large.root, send_timeout=1) as node:
        chunks = iter(
            templates.RemoteTemplates(timeout=LONG).open(
                large.template, [node.url]
            )
        )
        begin = next(chunks)
        wait_until(lambda: node.value('connections') == 0)
        assert b''.join([begin, *chunks]) == large.content
