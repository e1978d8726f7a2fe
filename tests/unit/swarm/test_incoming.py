# SPDX-License-Identifier: Apache-2.0
"""The file that a fetch writes, on a real file system."""

import os
import pathlib
import random
import threading

import pytest

from harness import contents
from tmpl_glance_store import merkle
from tmpl_glance_store.swarm import incoming

PIECE = merkle.MIN_PIECE
NOISE = random.Random(1).randbytes(2 * PIECE)
GO = threading.Event()


def prepared(
    path: pathlib.Path, what: contents.Content, stop: threading.Event = GO
) -> list[bool]:
    return incoming.prepare(
        str(path), what.template, merkle.split_layer(what.pieces), stop
    )


def test_of_a_new_file_only_the_zeros_are_there(
    tmp_path: pathlib.Path,
) -> None:
    what = contents.content(NOISE + bytes(PIECE + 77))
    path = tmp_path / 'image'
    assert prepared(path, what) == [False, False, True, True]
    assert path.stat().st_size == len(what.data)
    assert path.stat().st_blocks == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_an_earlier_fetch_left_is_proved(tmp_path: pathlib.Path) -> None:
    what = contents.content(NOISE + b'tail')
    path = tmp_path / 'image'
    path.write_bytes(NOISE[:PIECE] + b'!' + NOISE[PIECE + 1 :] + b'tail')
    assert prepared(path, what) == [True, False, True]


def test_a_file_that_is_too_long_is_cut(tmp_path: pathlib.Path) -> None:
    what = contents.content(NOISE[:1000])
    path = tmp_path / 'image'
    path.write_bytes(NOISE)
    assert prepared(path, what) == [True]
    assert path.read_bytes() == what.data


def test_who_stops_it_gets_nothing(tmp_path: pathlib.Path) -> None:
    stop = threading.Event()
    stop.set()
    assert prepared(
        tmp_path / 'image', contents.content(bytes(2 * PIECE)), stop
    ) == [False, False]


def test_zeros_become_holes_and_the_bytes_stay(
    tmp_path: pathlib.Path,
) -> None:
    data = NOISE + bytes(PIECE) + NOISE[:5000] + bytes(PIECE)
    path = tmp_path / 'image'
    path.write_bytes(data)
    os.sync()
    before = path.stat().st_blocks
    incoming.punch_zeros(str(path), GO)
    assert path.read_bytes() == data
    assert path.stat().st_blocks < before


def test_where_there_can_be_no_holes_the_file_is_left(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'image'
    path.write_bytes(bytes(PIECE))
    asked: list[int] = []

    def punch(fd: int, start: int, length: int) -> bool:
        asked.append(length)
        return False

    monkeypatch.setattr(incoming, '_punch', punch)
    incoming.punch_zeros(str(path), GO)
    assert len(asked) == 1
