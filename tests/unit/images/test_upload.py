# SPDX-License-Identifier: Apache-2.0
"""An upload: what it tells, what it refuses, and what is left if it fails."""

import pathlib
from collections.abc import Iterator

import pytest

from harness import host as hosts
from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from tests.unit.meetings import DATA
from tests.unit.meetings import OTHER
from tests.unit.meetings import fail
from tests.unit.meetings import fail_if_read
from tests.unit.meetings import once
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store.images import removal
from tmpl_glance_store.images import upload


def test_the_result_says_what_the_disk_and_the_catalog_say(
    host: Host, parts: factory.Parts
) -> None:
    added = parts.images.add('image-1', [DATA], len(DATA), 'sha384')
    (copy,) = host.copies(added.template.digest)
    assert (
        objects.Template.from_json((copy / 'template.json').read_bytes())
        == added.template
    )
    assert parts.catalog.bindings.image('image-1').is_bound(
        added.url.digest, added.url.token
    )
    record = parts.catalog.bindings.template(added.template.digest)
    assert record == objects.TemplateRecord(added.template, ('image-1',))
    (recorded,) = parts.catalog.copies.of(added.template.digest)
    assert recorded.complete


def test_every_image_has_a_token_of_its_own(
    parts: factory.Parts,
) -> None:
    tokens = {add(parts, DATA).token for _ in range(3)}
    assert len(tokens) == 3
    assert all(objects.TOKEN.fullmatch(token) for token in tokens)


def test_the_steps_are_announced_in_order(tmp_path: pathlib.Path) -> None:
    steps: list[str] = []
    # What is staged always has to move.
    parts = Host(tmp_path, 'staging:s:1', 'ssd:a:1').parts(steps.append)
    image = add(parts, DATA)
    assert tuple(steps) == upload.ADD_STEPS
    steps.clear()
    remove(parts, image)
    assert tuple(steps) == removal.REMOVE_STEPS


@pytest.mark.parametrize(
    'image_id',
    ['', '..', '../etc', 'a/b', 'a b', 'é', 'a' * 65, 'a\n', '-a', '%2e'],
)
def test_an_image_id_that_no_url_could_hold_is_refused(
    host: Host, parts: factory.Parts, image_id: str
) -> None:
    with pytest.raises(exceptions.Invalid):
        parts.images.add(image_id, fail_if_read(), 0, 'sha256')
    assert host.is_clean()


def test_of_two_uploads_of_one_image_the_first_to_end_wins(
    host: Host, parts: factory.Parts
) -> None:
    urls = []

    def slow() -> Iterator[bytes]:
        yield DATA[:1000]
        urls.append(add(parts, OTHER, 'image-1'))
        yield DATA[1000:]

    with pytest.raises(exceptions.Duplicate):
        parts.images.add('image-1', slow(), len(DATA), 'sha256')
    assert read(parts, urls[0]) == OTHER
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', upload.ADD_STEPS[:-2])
def test_an_upload_that_fails_at_any_step_leaves_nothing(
    host: Host, step: str
) -> None:
    parts = host.parts(once(step, fail(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        add(parts, DATA, 'image-1')
    assert host.unfinished() == host.copies() == []
    assert host.records('images') == host.records('templates') == {}
    assert read(parts, add(parts, DATA, 'image-1')) == DATA
    assert host.disagreements() == []


@pytest.mark.parametrize(
    'error', [exceptions.Unavailable('unreachable'), KeyboardInterrupt()]
)
def test_a_copy_that_cannot_be_bound_goes(
    host: Host,
    parts: factory.Parts,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts.catalog.bindings, 'bind', fail(error))
    with pytest.raises(type(error)):
        add(parts, DATA)
    assert host.is_clean()


def test_a_binding_whose_answer_is_lost_is_undone(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = parts.catalog.bindings.bind

    def bind_and_fail(*args: object) -> None:
        bind(*args)  # type: ignore[arg-type]
        raise exceptions.Unavailable('no answer')

    monkeypatch.setattr(parts.catalog.bindings, 'bind', bind_and_fail)
    with pytest.raises(exceptions.Unavailable):
        add(parts, DATA, 'image-1')
    assert host.is_clean()
    monkeypatch.undo()
    assert read(parts, add(parts, DATA, 'image-1')) == DATA


def test_the_same_content_of_the_same_image_is_bound_again(
    host: Host, parts: factory.Parts
) -> None:
    first = add(parts, DATA, 'image-1')
    # Its Glance died before it noted the URL, and it is uploaded anew.
    again = add(host.parts(), DATA, 'image-1')
    assert again.token != first.token
    assert read(parts, again) == DATA
    with pytest.raises(exceptions.NotFound):
        read(parts, first)
    assert len(host.copies()) == 1
    assert host.disagreements() == []
    parts.images.remove(again)
    assert host.is_clean()


def test_a_lost_answer_does_not_unbind_the_image_of_another(
    host: Host, parts: factory.Parts
) -> None:
    other = host.parts()
    first = add(other, OTHER, 'image-1')
    with pytest.raises(exceptions.Duplicate):
        add(parts, DATA, 'image-1')
    assert read(other, first) == OTHER
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize(
    'call', ['bindings.image', 'locations.all', 'copies.intend']
)
def test_an_upload_without_a_catalog_leaves_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    parts = host.parts()
    room, _, name = call.partition('.')
    monkeypatch.setattr(
        getattr(parts.catalog, room),
        name,
        fail(exceptions.Unavailable('unreachable')),
    )
    with pytest.raises(exceptions.Unavailable):
        add(parts, DATA)
    monkeypatch.undo()
    assert host.is_clean()


@pytest.mark.parametrize('first', ['whole', 'halves'])
def test_a_content_made_of_two_hashes_of_another_is_not_that(
    host: Host, parts: factory.Parts, first: str
) -> None:
    whole = hosts.content(5_000_000, 'alice')
    leaves = merkle.block_hashes(whole)
    row = [*leaves, *[bytes(32)] * (512 - len(leaves))]
    halves = merkle.root(row[:256]) + merkle.root(row[256:])
    contents = [whole, halves] if first == 'whole' else [halves, whole]
    images = [add(parts, data) for data in contents]
    assert merkle.block_hashes(halves) == [merkle.root(leaves)], 'one root'
    assert images[0].digest != images[1].digest
    assert [read(parts, image) for image in images] == contents
    assert host.disagreements() == []
