# SPDX-License-Identifier: Apache-2.0
"""A disk that fails in the middle of a read."""

import errno
import types
from collections.abc import Callable, Iterator

import pytest

from harness.host import Host
from harness.host import add
from harness.host import remove
from tests.fakes import remote as fake
from tests.unit.meetings import DATA
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store.images import url as image_url
from tmpl_glance_store.localstore import reader
from tmpl_glance_store.remote import templates

_CHUNK = 300_000
_HALF = 2 * _CHUNK  # bytes that the disk gives before it fails


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let each read from a disk fail, half-way, with an errno."""

    def arrange(number: int) -> None:
        whole = reader.ChunkedFile.__iter__

        def half(file: reader.ChunkedFile) -> Iterator[bytes]:
            given = 0
            for chunk in whole(file):
                if given == _HALF:
                    raise OSError(number, 'the disk failed')
                given += len(chunk)
                yield chunk

        monkeypatch.setattr(reader.ChunkedFile, '__iter__', half)

    return arrange


def let_another_hold(
    parts: factory.Parts,
    digest: str,
    monkeypatch: pytest.MonkeyPatch,
    dies_at: int | None = None,
) -> fake.Holder:
    """Let another node hold a copy of DATA."""
    record = parts.catalog.bindings.template(digest)
    assert record is not None
    (layer,) = (
        each.pieces(digest)
        for each in parts.store.locations
        if each.holds(digest)
    )
    holder = fake.Holder(
        DATA, layer, record.template.piece_size, dies_at=dies_at
    )
    remote = templates.RemoteTemplates(
        connect=lambda url: fake.Connection(holder)
    )
    monkeypatch.setattr(parts.remote, 'open', remote.open)
    monkeypatch.setattr(
        parts.catalog.nodes,
        'holders',
        lambda _: [types.SimpleNamespace(api='a')],
    )
    return holder


def read(
    parts: factory.Parts,
    url: image_url.ImageUrl,
    offset: int = 0,
    length: int | None = None,
) -> bytes:
    file = parts.images.read(url, offset, length, _CHUNK)
    assert file.size == len(DATA)
    data = b''.join(file)
    file.close()
    return data


@pytest.mark.parametrize(
    ('offset', 'length'),
    [(0, None), (1, None), (0, 700_000), (300_001, 700_000)],
)
def test_the_rest_comes_from_another_node(
    host: Host,
    parts: factory.Parts,
    fails: Callable[[int], None],
    offset: int,
    length: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = add(parts, DATA)
    holder = let_another_hold(parts, url.digest, monkeypatch)
    fails(errno.EIO)
    end = None if length is None else offset + length
    assert read(parts, url, offset, length) == DATA[offset:end]
    assert holder.connections == 0
    assert len(host.quarantined()) == 1
    assert parts.catalog.copies.of(url.digest) == []


def test_the_last_copy_stays_although_it_cannot_be_read_whole(
    host: Host, parts: factory.Parts, fails: Callable[[int], None]
) -> None:
    url = add(parts, DATA)
    fails(errno.EIO)
    with pytest.raises(exceptions.Unavailable, match='no copy of image'):
        read(parts, url)
    assert host.quarantined() == []


def test_a_copy_stays_while_the_other_one_is_no_better(
    host: Host,
    parts: factory.Parts,
    fails: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = add(parts, DATA)
    let_another_hold(parts, url.digest, monkeypatch, dies_at=3)
    fails(errno.EIO)
    with pytest.raises(exceptions.Unavailable, match='died'):
        read(parts, url)
    assert host.quarantined() == []


def test_what_may_pass_condemns_no_copy(
    host: Host,
    parts: factory.Parts,
    fails: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = add(parts, DATA)
    let_another_hold(parts, url.digest, monkeypatch)
    fails(errno.ESTALE)
    assert read(parts, url) == DATA
    assert host.quarantined() == []
    remove(parts, url)
