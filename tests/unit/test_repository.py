# SPDX-License-Identifier: Apache-2.0
"""The repository: disk and catalog in step, whoever meets whom, and when."""

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import xxhash

from harness import host as hosts
from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from harness.host import spread
from tests.conftest import Forbid
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import fsutil
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import bindings
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.images import removal
from tmpl_glance_store.images import upload
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging
from tmpl_glance_store.placement import hash_range

DATA = hosts.content(1 << 20 | 1)
OTHER = hosts.content(100_000, 'other')


def once(step: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Return an ``on_step`` that acts when *step* is done the first time."""
    left = [step]

    def on_step(name: str) -> None:
        if left == [name]:
            left.clear()
            act()

    return on_step


class Meanwhile:
    """What another process does in the middle of ours.

    It may have to wait until we let go of a lock.
    """

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self._outcome: list[Any] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __call__(self) -> None:
        self._thread.start()
        self._thread.join(0.3)

    def result(self) -> Any:
        """Wait for the end; return what came of it."""
        self._thread.join(30)
        (outcome,) = self._outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _run(self) -> None:
        try:
            self._outcome.append(self._act())
        except Exception as exc:
            self._outcome.append(exc)


def fail(error: Exception) -> Callable[..., None]:
    """Return a function that raises *error* whatever it is called with."""

    def act(*_: object, **__: object) -> None:
        raise error

    return act


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for a lock that nobody will ever release."""
    monkeypatch.setattr(keeping, '_LOCK_WAIT', 0.5)


# Upload


def test_an_image_comes_back(host: Host, parts: factory.Parts) -> None:
    image = add(parts, DATA)
    assert read(parts, image) == DATA
    assert parts.images.size(image) == len(DATA)
    assert host.disagreements() == []


def test_the_result_says_what_the_disk_and_the_catalog_say(
    host: Host, parts: factory.Parts
) -> None:
    added = parts.images.add('image-1', [DATA], len(DATA), 'sha384')
    (copy,) = host.copies(added.template.digest)
    assert (
        objects.Template.from_json((copy / 'template.json').read_bytes())
        == added.template
    )
    assert hosts.url_of(parts, 'image-1') == added.url
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


def test_each_copy_lies_where_the_hash_ranges_say(
    host: Host, parts: factory.Parts
) -> None:
    images = spread(host, lambda data: add(parts, data))
    policy = hash_range.HashRange(parts.catalog.locations.all(), 1)
    for data, image in images.items():
        (owner,) = policy.targets(xxhash.xxh3_64_intdigest(data))
        (copy,) = host.copies(image.digest)
        assert copy.is_relative_to(owner.path)


def test_a_full_target_is_passed_over(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = add(parts, DATA)
    (copy,) = host.copies()
    full = str(copy.parents[2])
    remove(parts, first)
    monkeypatch.setattr(
        fsutil,
        'free_bytes',
        lambda path: (-1 if path == full else 1 << 40, 1 << 40),
    )
    assert read(parts, add(parts, DATA)) == DATA
    (copy,) = host.copies()
    assert not copy.is_relative_to(full)


def test_no_room_at_any_target_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, 'staging:s:1', 'ssd:a:1')
    parts = host.parts()
    monkeypatch.setattr(
        fsutil,
        'free_bytes',
        lambda path: (1 << 40 if path.endswith('s') else -1, 1 << 40),
    )
    with pytest.raises(exceptions.NoSpace):
        add(parts, DATA)
    assert host.is_clean()


def test_a_placement_that_finds_no_location_is_told(
    tmp_path: pathlib.Path,
) -> None:
    host = Host(tmp_path, 'hdd:a:1', tmpl_store_placement='hash_range')
    with pytest.raises(exceptions.WriteDenied, match='tmpl_store_placement'):
        add(host.parts(), DATA)
    assert host.is_clean()


def test_a_location_added_later_gets_its_share(tmp_path: pathlib.Path) -> None:
    Host(tmp_path, 'ssd:a:1').parts()
    host = Host(tmp_path, 'ssd:a:1', 'ssd:b:1')
    parts = host.parts()
    assert spread(host, lambda data: add(parts, data))
    assert host.disagreements() == []


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


def fail_if_read() -> Iterator[bytes]:
    """A stream that must not be read."""
    raise AssertionError('the stream was read')
    yield b''


def test_two_spellings_of_an_id_are_one_image(
    host: Host, parts: factory.Parts
) -> None:
    image = add(parts, DATA, 'ABCDEF-1')
    with pytest.raises(exceptions.Duplicate):
        parts.images.add('abcdef-1', fail_if_read(), 0, 'sha256')
    assert image.image_id == 'abcdef-1'
    assert read(parts, image) == DATA
    assert host.disagreements() == []
    remove(parts, image)
    assert host.is_clean()


def test_of_two_uploads_of_one_image_the_first_to_end_wins(
    host: Host, parts: factory.Parts
) -> None:
    def slow() -> Iterator[bytes]:
        yield DATA[:1000]
        add(parts, OTHER, 'image-1')
        yield DATA[1000:]

    with pytest.raises(exceptions.Duplicate):
        parts.images.add('image-1', slow(), len(DATA), 'sha256')
    assert read(parts, hosts.url_of(parts, 'image-1')) == OTHER
    assert len(host.copies()) == 1
    assert host.disagreements() == []


# The same content


def test_the_same_content_is_stored_once_and_goes_with_the_last_image(
    host: Host, parts: factory.Parts
) -> None:
    images = [add(parts, DATA) for _ in range(3)]
    (copy,) = host.copies()
    before = (copy / 'image').stat()
    for image in images[:-1]:
        remove(parts, image)
        assert read(parts, images[-1]) == DATA
        assert (copy / 'image').stat() == before
        with pytest.raises(exceptions.NotFound):
            read(parts, image)
        assert host.disagreements() == []
    remove(parts, images[-1])
    assert host.is_clean()


def test_the_same_content_needs_no_second_seal(tmp_path: pathlib.Path) -> None:
    steps: list[str] = []
    parts = Host(tmp_path, 'ssd:a:1').parts(steps.append)
    add(parts, DATA)
    steps.clear()
    add(parts, DATA)
    assert steps == ['staged', 'hashed', 'bound']


def test_an_uploader_gets_the_checksums_of_what_it_uploaded(
    parts: factory.Parts,
) -> None:
    first = parts.images.add('image-1', [DATA], 0, 'sha512').template
    second = parts.images.add('image-2', [DATA], 0, 'sha256').template
    assert second.digest == first.digest
    assert (second.hashing_algo, len(second.multihash)) == ('sha256', 64)


@pytest.mark.parametrize(
    'act',
    [
        lambda copy: os.truncate(copy / 'image', 10),
        lambda copy: (copy / 'image').unlink(),
        lambda copy: (copy / 'template.json').unlink(),
    ],
)
def test_a_corrupt_copy_is_quarantined_and_replaced(
    host: Host,
    parts: factory.Parts,
    act: Callable[[pathlib.Path], None],
) -> None:
    first = add(parts, DATA)
    (copy,) = host.copies()
    act(copy)
    second = add(parts, DATA)
    assert read(parts, first) == read(parts, second) == DATA
    assert [path.name.split('.')[0] for path in host.quarantined()] == [
        first.digest
    ]
    assert host.disagreements() == []


def test_the_quarantined_copy_of_an_old_layout_is_not_recorded_any_more(
    tmp_path: pathlib.Path,
) -> None:
    add(Host(tmp_path, 'ssd:a:1').parts(), DATA)
    # Its range goes to another location, by its weight.
    host = Host(tmp_path, 'ssd:a:1', 'ssd:b:999999')
    parts = host.parts()
    (copy,) = host.copies()
    assert copy.is_relative_to(host.paths[0])
    os.truncate(copy / 'image', 10)
    add(parts, DATA)
    (copy,) = host.copies()
    assert copy.is_relative_to(host.paths[1])
    assert host.disagreements() == []


# Whoever meets whom: the other one is another process, with its own
# repository, and comes at every step.


@pytest.mark.parametrize('step', upload.ADD_STEPS)
def test_another_upload_of_the_content_may_come_at_any_step(
    host: Host, step: str
) -> None:
    other = host.parts()
    coming = Meanwhile(lambda: add(other, DATA))
    images = [add(host.parts(once(step, coming)), DATA), coming.result()]
    assert [read(other, image) for image in images] == [DATA, DATA]
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', ['staged', 'hashed', 'bound'])
def test_the_only_other_image_may_go_at_any_step_of_an_upload(
    host: Host, step: str
) -> None:
    other = host.parts()
    gone = add(other, DATA)
    going = Meanwhile(lambda: remove(other, gone))
    image = add(host.parts(once(step, going)), DATA)
    going.result()
    assert read(other, image) == DATA
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_an_upload_of_the_content_may_come_at_any_step_of_a_removal(
    host: Host, step: str
) -> None:
    other = host.parts()
    coming = Meanwhile(lambda: add(other, DATA))
    parts = host.parts(once(step, coming))
    remove(parts, add(parts, DATA))
    assert read(parts, coming.result()) == DATA
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_nothing_stays_locked_after_a_removal_that_met_an_upload(
    host: Host, impatient: None, step: str
) -> None:
    other = host.parts()
    coming = Meanwhile(lambda: add(other, DATA))
    parts = host.parts(once(step, coming))
    remove(parts, add(parts, DATA))
    for image in (coming.result(), add(parts, DATA)):
        remove(parts, image)
    assert host.is_clean()


@pytest.mark.parametrize('step', [*upload.ADD_STEPS, *removal.REMOVE_STEPS])
def test_another_process_may_start_at_any_step(host: Host, step: str) -> None:
    starting = Meanwhile(host.parts)
    parts = host.parts(once(step, starting))
    image = add(parts, DATA)
    assert read(parts, image) == DATA
    assert host.disagreements() == []
    remove(parts, image)
    starting.result()
    assert host.is_clean()


def test_a_reader_that_found_the_image_reads_it_to_the_end(
    host: Host, parts: factory.Parts
) -> None:
    image = add(parts, DATA)
    with contextlib.closing(parts.images.read(image, 0, None, 1000)) as chunks:
        remove(parts, image)
        assert b''.join(chunks) == DATA
    assert host.is_clean()


def test_uploads_and_removals_of_one_content_race_without_harm(
    host: Host,
) -> None:
    parts = host.parts()
    problems: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(12):
            try:
                image = add(parts, OTHER)
                if read(parts, image) != OTHER:
                    problems.append('wrong bytes')
                remove(parts, image)
            except Exception as exc:
                problems.append(repr(exc))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert host.is_clean()


# When something fails


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


def test_a_lost_answer_does_not_unbind_the_image_of_another(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = host.parts()
    first = add(other, OTHER, 'image-1')
    # The check at the start of the upload was too early to see it.
    monkeypatch.setattr(parts._upload, '_check_new', lambda image_id: None)
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


def test_a_removal_that_is_denied_changes_nothing(
    host: Host, parts: factory.Parts, forbid: Forbid
) -> None:
    image = add(parts, DATA)
    (copy,) = host.copies()
    forbid(copy.parents[2] / 'incoming')
    with pytest.raises(exceptions.WriteDenied):
        remove(parts, image)
    forbid.lift()
    assert read(parts, image) == DATA
    assert host.disagreements() == []


def test_a_removal_that_the_shelf_denies_changes_nothing(
    host: Host, parts: factory.Parts, forbid: Forbid
) -> None:
    image = add(parts, DATA)
    (copy,) = host.copies()
    forbid(copy.parent)
    with pytest.raises(exceptions.WriteDenied):
        remove(parts, image)
    forbid.lift()
    assert read(parts, image) == DATA
    assert host.disagreements() == []


def test_a_removal_needs_no_room(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(parts, DATA)
    monkeypatch.setattr(
        local.LocalLocation, 'probe', fail(exceptions.NoSpace('full'))
    )
    remove(parts, image)
    assert host.is_clean()


def test_a_removal_is_remembered_while_the_disk_is_away(
    host: Host, parts: factory.Parts
) -> None:
    image = add(parts, DATA)
    (copy,) = host.copies()
    disk = copy.parents[2]
    disk.rename(host.root / 'away')
    disk.mkdir()
    with pytest.raises(exceptions.Unavailable):
        read(parts, image)
    remove(parts, image)
    with pytest.raises(exceptions.NotFound):
        read(parts, image)
    disk.rmdir()
    (host.root / 'away').rename(disk)
    host.parts()
    assert host.is_clean()


@pytest.mark.parametrize(
    'wrong',
    [{'image_id': 'another'}, {'token': '0' * 32}, {'digest': '0' * 64}],
)
def test_who_does_not_know_the_binding_learns_and_changes_nothing(
    host: Host, parts: factory.Parts, wrong: dict[str, str]
) -> None:
    image = add(parts, DATA)
    guess = dataclasses.replace(image, **wrong)
    messages = set()
    for call in (
        lambda: read(parts, guess),
        lambda: remove(parts, guess),
        lambda: parts.images.size(guess),
    ):
        with pytest.raises(exceptions.NotFound) as caught:
            call()
        messages.add(str(caught.value))
    assert messages == {f'image {guess.image_id} is not stored here'}
    assert read(parts, image) == DATA


def test_a_template_that_the_catalog_lost_is_not_called_absent(
    host: Host, parts: factory.Parts
) -> None:
    image = add(parts, DATA)
    forget(host, f'templates/{image.digest}')
    assert parts.images.size(image) == len(DATA), 'a copy is here'
    host.copies()[0].rename(host.root / 'elsewhere')
    with pytest.raises(exceptions.Unavailable):
        parts.images.size(image)


# A start


def test_a_start_with_nothing_to_do_changes_nothing(host: Host) -> None:
    image = add(host.parts(), DATA)
    before = {
        kind: host.records(kind)
        for kind in ('images', 'templates', 'locations')
    }
    parts = host.parts()
    assert read(parts, image) == DATA
    assert {kind: host.records(kind) for kind in before} == before
    assert host.disagreements() == []


def test_copies_that_the_catalog_lost_are_adopted(host: Host) -> None:
    image = add(host.parts(), DATA)
    for file in host.root.glob('catalog.sqlite*'):
        file.unlink()
    parts = host.parts()
    assert host.disagreements() == []
    record = parts.catalog.bindings.template(image.digest)
    assert record is not None
    assert record.images == ()
    with pytest.raises(exceptions.NotFound):
        read(parts, image)
    # The content is known again: the next upload of it stores nothing.
    (copy,) = host.copies()
    before = copy.stat()
    assert read(parts, add(parts, DATA)) == DATA
    assert os.path.samestat(copy.stat(), before)


@pytest.mark.parametrize('kind', ['templates', 'copies'])
def test_a_record_that_the_catalog_lost_is_made_anew(
    host: Host, kind: str
) -> None:
    image = add(host.parts(), DATA)
    (key,) = host.records(kind)
    forget(host, f'{kind}/{key}')
    parts = host.parts()
    assert read(parts, image) == DATA
    assert [*host.records('templates')] == [image.digest]
    (copy,) = host.records('copies').values()
    assert copy['complete']


def test_a_record_of_a_copy_that_is_gone_is_dropped(host: Host) -> None:
    parts = host.parts()
    image, kept = add(parts, DATA), add(parts, OTHER)
    (copy,) = host.copies(image.digest)
    copy.rename(host.root / 'gone')
    parts = host.parts()
    assert [key.split('/')[0] for key in host.records('copies')] == [
        kept.digest
    ]
    # The image is still known: this is a loss, not a removal.
    with pytest.raises(exceptions.Unavailable):
        read(parts, image)
    assert read(parts, kept) == OTHER
    # What was lost can be uploaded anew, and then is back.
    add(parts, DATA)
    assert read(parts, image) == DATA


@pytest.mark.parametrize('step', upload.ADD_STEPS)
def test_a_crash_at_any_step_of_an_upload_is_cleaned_up(
    host: Host, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = add(host.parts(), OTHER)
    crash(host, monkeypatch, step, lambda parts: add(parts, DATA, 'image-1'))
    parts = host.parts()
    assert host.disagreements() == []
    assert read(parts, kept) == OTHER
    if step == 'bound':
        assert read(parts, hosts.url_of(parts, 'image-1')) == DATA
    else:
        assert len(host.copies()) == 1
        assert read(parts, add(parts, DATA, 'image-1')) == DATA


@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_a_crash_at_any_step_of_a_removal_is_made_good(
    host: Host, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(host.parts(), DATA)
    crash(host, monkeypatch, step, lambda parts: remove(parts, image))
    host.parts()
    assert host.is_clean()


@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_a_crash_in_a_removal_does_not_hurt_the_next_upload(
    host: Host, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(host.parts(), DATA)
    survivor = host.parts()
    crash(host, monkeypatch, step, lambda parts: remove(parts, image))
    again = add(survivor, DATA)
    assert read(host.parts(), again) == DATA
    assert host.disagreements() == []


class Crash(BaseException):
    """The end of the process."""


def crash(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    act: Callable[[factory.Parts], object],
) -> None:
    """Let *act* come as far as *step*, with no cleaning up afterwards.

    tests/functional/test_crash.py does the same with a real SIGKILL.
    """
    with monkeypatch.context() as patch:

        def stop() -> None:
            patch.setattr(staging, 'erase', lambda path: None)
            patch.setattr(keeping.Keeper, '_decide', fail(Crash()))
            patch.setattr(bindings.Bindings, 'unbind', fail(Crash()))
            raise Crash

        with pytest.raises(Crash):
            act(host.parts(once(step, stop)))


def forget(host: Host, key: str) -> None:
    """Let the catalog lose an entry."""
    store = factory.build_catalog_store(host.catalog_url)
    assert store.commit(
        [], [catalog.contract.Delete(f'/tmpl/{hosts.CLUSTER}/v1/{key}')]
    )


def test_an_intent_without_a_copy_is_dropped(host: Host) -> None:
    parts = host.parts()
    location, *_ = parts.catalog.locations.all()
    parts.catalog.copies.intend('ab' * 32, location.id)
    host.parts()
    assert host.is_clean()


def test_an_intended_copy_is_not_adopted(host: Host) -> None:
    parts = host.parts()
    image = add(parts, DATA)
    ((key, copy),) = host.records('copies').items()
    forget(host, f'images/{image.image_id}')
    forget(host, f'templates/{image.digest}')
    forget(host, f'copies/{key}')
    parts.catalog.copies.intend(image.digest, copy['location_id'])
    host.parts()
    assert host.is_clean()


def test_the_intent_of_another_does_not_hurt_a_bound_copy(host: Host) -> None:
    parts = host.parts()
    image = add(parts, DATA)
    ((_, copy),) = host.records('copies').items()
    parts.catalog.copies.intend(image.digest, copy['location_id'])
    assert read(host.parts(), image) == DATA
    assert host.disagreements() == []


def test_entries_that_are_no_copies_are_quarantined(host: Host) -> None:
    parts = host.parts()
    image = add(parts, DATA)
    (copy,) = host.copies()
    # A copy under another name, and a directory that never was one.
    misnamed = copy.parent / ('f' * 64)
    misnamed.mkdir()
    for file in copy.iterdir():
        os.link(file, misnamed / file.name)
    (copy.parents[1] / 'zz' / 'else').mkdir(parents=True)
    (copy.parent / 'a-file').touch()
    parts = host.parts()
    assert sorted(path.name.split('.')[0] for path in host.quarantined()) == [
        'else',
        'f' * 64,
    ]
    assert read(parts, image) == DATA
    assert [path for path in host.copies() if path.is_dir()] == [copy]


def test_a_damaged_copy_is_quarantined_and_its_record_dropped(
    host: Host,
) -> None:
    parts = host.parts()
    image, kept = add(parts, DATA), add(parts, OTHER)
    (copy,) = host.copies(image.digest)
    (copy / 'template.json').unlink()
    (copy / 'template.json').write_text('{}')
    parts = host.parts()
    assert len(host.quarantined()) == 1
    assert [key.split('/')[0] for key in host.records('copies')] == [
        kept.digest
    ]
    with pytest.raises(exceptions.Unavailable):
        read(parts, image)
    assert read(parts, kept) == OTHER


def test_a_start_does_not_touch_what_another_process_works_on(
    host: Host,
) -> None:
    parts = host.parts()
    template = add(parts, DATA)
    (copy,) = host.copies()
    with fsutil.lock_directory(str(copy)) as _:  # type: ignore[union-attr]
        (copy / 'template.json').rename(copy / 'elsewhere')
        host.parts()
        assert copy.exists()
        (copy / 'elsewhere').rename(copy / 'template.json')
    assert read(parts, template) == DATA


@pytest.mark.parametrize(
    'call',
    [
        'locations.put',
        'copies.in_location',
        'copies.adopt',
        'bindings.template',
    ],
)
def test_a_start_that_the_catalog_broke_off_is_made_good(
    host: Host, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    image = add(host.parts(), DATA)
    debris = [path / 'incoming' / 'debris' for path in host.paths]
    for path in debris:
        path.mkdir()
    for kind in ('locations', 'copies'):
        for key in host.records(kind):
            forget(host, f'{kind}/{key}')
    parts = factory.Parts(host.options)
    room, _, name = call.partition('.')
    monkeypatch.setattr(
        getattr(parts.catalog, room),
        name,
        fail(exceptions.Unavailable('unreachable')),
    )
    with contextlib.suppress(exceptions.Unavailable):
        parts.images.open()
    monkeypatch.undo()
    parts.images.open()
    assert host.disagreements() == []
    assert len(host.records('locations')) == len(host.paths)
    assert read(parts, image) == DATA


def test_one_disk_that_turned_read_only_does_not_stop_the_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = host.parts()
    images = spread(host, lambda data: add(parts, data))
    bad, *good = host.paths
    damaged = next(iter(bad.glob('templates/*/*')))
    (damaged / 'template.json').unlink()
    rename = os.rename

    def read_only(source: str, target: str) -> None:
        if source.startswith(str(bad)):
            raise OSError(errno.EROFS, 'Read-only file system', source)
        rename(source, target)

    debris = good[-1] / 'incoming' / 'debris'
    debris.mkdir()
    monkeypatch.setattr(os, 'rename', read_only)
    parts = host.parts()
    assert not debris.exists()
    for data, image in images.items():
        if image.digest != damaged.name:
            assert read(parts, image) == data


def test_one_copy_that_cannot_be_read_does_not_stop_the_others(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = add(parts, DATA), add(parts, OTHER)
    (copy,) = host.copies(bad.digest)
    opened = open

    def bad_sector(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path == str(copy / 'template.json'):
            raise OSError(errno.EIO, 'Input/output error', path)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr('builtins.open', bad_sector)
    parts = host.parts()
    assert read(parts, good) == OTHER
    assert read(parts, add(parts, b'something else')) == b'something else'
    monkeypatch.undo()
    assert read(parts, bad) == DATA
    assert host.disagreements() == []


def test_a_replaced_disk_gives_its_copies_up(host: Host) -> None:
    parts = host.parts()
    images = spread(host, lambda data: add(parts, data))
    gone = [
        path.name
        for path in host.copies()
        if path.is_relative_to(host.paths[0])
    ]
    old = json.loads((host.paths[0] / 'location.json').read_bytes())['id']
    host.paths[0].rename(host.root / 'broken')
    host.paths[0].mkdir()
    (host.paths[0] / 'replaced').touch()
    parts = host.parts()
    assert host.records('locations')[old]['state'] == objects.LOST
    assert sorted(
        location['path']
        for location in host.records('locations').values()
        if location['state'] == objects.ACTIVE
    ) == [str(path) for path in host.paths]
    assert not [key for key in host.records('copies') if key.endswith(old)]
    for data, image in images.items():
        if image.digest in gone:
            with pytest.raises(exceptions.Unavailable):
                read(parts, image)
            remove(parts, image)
        else:
            assert read(parts, image) == data
    assert host.disagreements() == []
    assert read(parts, add(parts, DATA)) == DATA


def test_a_disk_that_comes_back_after_it_was_replaced_counts_again(
    host: Host,
) -> None:
    parts = host.parts()
    images = spread(host, lambda data: add(parts, data))
    host.paths[0].rename(host.root / 'pulled')
    host.paths[0].mkdir()
    (host.paths[0] / 'replaced').touch()
    host.parts()
    host.paths[0].rename(host.root / 'spare')
    (host.root / 'pulled').rename(host.paths[0])
    parts = host.parts()
    assert {data: read(parts, image) for data, image in images.items()} == {
        data: data for data in images
    }
    states = {
        key: each['state'] for key, each in host.records('locations').items()
    }
    back = json.loads((host.paths[0] / 'location.json').read_bytes())['id']
    spare = json.loads((host.root / 'spare' / 'location.json').read_bytes())[
        'id'
    ]
    assert (states[back], states[spare]) == (objects.ACTIVE, objects.LOST)


def test_no_location_that_can_be_written_is_told_with_all_reasons(
    host: Host, forbid: Forbid
) -> None:
    host.paths[0].write_text('in the way')
    parts = host.parts()
    parts.images.require_writable()
    for path in host.paths[1:]:
        forbid(path / 'incoming')
    with pytest.raises(exceptions.WriteDenied) as caught:
        parts.images.require_writable()
    assert all(str(path) in str(caught.value) for path in host.paths)


def test_a_full_disk_is_no_reason_not_to_start(
    parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        local.LocalLocation, 'probe', fail(exceptions.NoSpace('full'))
    )
    parts.images.require_writable()


# The wiring


@pytest.mark.parametrize(
    ('settings', 'option'),
    [
        ({'tmpl_store_placement': 'by_mood'}, 'tmpl_store_placement'),
        ({'tmpl_store_catalog': 'nosql:///x'}, 'tmpl_store_catalog'),
        (
            {'tmpl_store_catalog': 'sqlite://relative.sqlite'},
            'tmpl_store_catalog',
        ),
    ],
)
def test_an_option_that_names_something_unknown_is_refused(
    tmp_path: pathlib.Path, settings: dict[str, object], option: str
) -> None:
    with pytest.raises(exceptions.BadConfiguration, match=option):
        Host(tmp_path, **settings).parts()


def test_auto_places_by_hash_as_soon_as_there_is_an_ssd(
    tmp_path: pathlib.Path,
) -> None:
    def ranges(*locations: str) -> set[str]:
        parts = Host(tmp_path, *locations).parts()
        policy = parts.policy(parts.catalog.locations.all())
        return {owner.path for *_, owner in policy.ranges()}

    assert ranges('hdd:a:1') == set()
    assert ranges('hdd:a:1', 'ssd:b:1') == {str(tmp_path / 'b')}


def test_without_any_ssd_the_only_node_keeps_a_copy_on_its_disk(
    tmp_path: pathlib.Path,
) -> None:
    host = Host(tmp_path, 'staging:s:1', 'hdd:a:1')
    parts = host.parts()
    assert read(parts, add(parts, DATA)) == DATA
    (copy,) = host.copies()
    assert copy.is_relative_to(tmp_path / 'a')
    assert host.disagreements() == []


def test_the_stream_is_never_held_whole(host: Host) -> None:
    size, chunk = 96 << 20, bytes(1 << 20)
    alive, most = [0], [0]

    class Chunk(bytearray):
        def __init__(self) -> None:
            super().__init__(chunk)
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self) -> None:
            alive[0] -= 1

    def stream() -> Iterable[bytes]:
        return (Chunk() for _ in itertools.repeat(None, size // len(chunk)))

    with contextlib.suppress(exceptions.NoSpace):
        host.parts().images.add(hosts.new_id(), stream(), size, 'md5')
    assert most[0] <= 2
