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
from tmpl_glance_store import recovery
from tmpl_glance_store import repository
from tmpl_glance_store.catalog import bindings
from tmpl_glance_store.catalog import catalog
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
    for module in (repository, recovery):
        monkeypatch.setattr(module, '_LOCK_WAIT', 0.5)


# Upload


def test_an_image_comes_back(host: Host, repo: repository.Repository) -> None:
    image = add(repo, DATA)
    assert read(repo, image) == DATA
    assert repo.size(*hosts.parts(image)) == len(DATA)
    assert host.disagreements() == []


def test_the_result_says_what_the_disk_and_the_catalog_say(
    host: Host, repo: repository.Repository
) -> None:
    added = repo.add('image-1', [DATA], len(DATA), 'sha384')
    (copy,) = host.copies(added.template.digest)
    assert (
        objects.Template.from_json((copy / 'template.json').read_bytes())
        == added.template
    )
    assert repo.catalog.bindings.image('image-1') == added.image
    record = repo.catalog.bindings.template(added.template.digest)
    assert record == objects.TemplateRecord(added.template, ('image-1',))
    (recorded,) = repo.catalog.copies.of(added.template.digest)
    assert recorded.complete


def test_every_image_has_a_token_of_its_own(
    repo: repository.Repository,
) -> None:
    tokens = {add(repo, DATA).token for _ in range(3)}
    assert len(tokens) == 3
    assert all(objects.TOKEN.fullmatch(token) for token in tokens)


def test_the_steps_are_announced_in_order(tmp_path: pathlib.Path) -> None:
    steps: list[str] = []
    # What is staged always has to move.
    repo = Host(tmp_path, 'staging:s:1', 'ssd:a:1').repository(steps.append)
    image = add(repo, DATA)
    assert tuple(steps) == repository.ADD_STEPS
    steps.clear()
    remove(repo, image)
    assert tuple(steps) == repository.REMOVE_STEPS


def test_each_copy_lies_where_the_hash_ranges_say(
    host: Host, repo: repository.Repository
) -> None:
    images = spread(host, lambda data: add(repo, data))
    policy = hash_range.HashRange(repo.catalog.locations.all(), 1)
    for data, image in images.items():
        (owner,) = policy.targets(xxhash.xxh3_64_intdigest(data))
        (copy,) = host.copies(image.digest)
        assert copy.is_relative_to(owner.path)


def test_a_full_target_is_passed_over(
    host: Host, repo: repository.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = add(repo, DATA)
    (copy,) = host.copies()
    full = str(copy.parents[2])
    remove(repo, first)
    monkeypatch.setattr(
        fsutil,
        'free_bytes',
        lambda path: (-1 if path == full else 1 << 40, 1 << 40),
    )
    assert read(repo, add(repo, DATA)) == DATA
    (copy,) = host.copies()
    assert not copy.is_relative_to(full)


def test_no_room_at_any_target_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, 'staging:s:1', 'ssd:a:1')
    repo = host.repository()
    monkeypatch.setattr(
        fsutil,
        'free_bytes',
        lambda path: (1 << 40 if path.endswith('s') else -1, 1 << 40),
    )
    with pytest.raises(exceptions.NoSpace):
        add(repo, DATA)
    assert host.is_clean()


def test_a_placement_that_finds_no_location_is_told(
    tmp_path: pathlib.Path,
) -> None:
    host = Host(tmp_path, 'hdd:a:1', tmpl_store_placement='hash_range')
    with pytest.raises(exceptions.WriteDenied, match='tmpl_store_placement'):
        add(host.repository(), DATA)
    assert host.is_clean()


def test_a_location_added_later_gets_its_share(tmp_path: pathlib.Path) -> None:
    Host(tmp_path, 'ssd:a:1').repository()
    host = Host(tmp_path, 'ssd:a:1', 'ssd:b:1')
    repo = host.repository()
    assert spread(host, lambda data: add(repo, data))
    assert host.disagreements() == []


@pytest.mark.parametrize(
    'image_id',
    ['', '..', '../etc', 'a/b', 'a b', 'é', 'a' * 65, 'a\n', '-a', '%2e'],
)
def test_an_image_id_that_no_url_could_hold_is_refused(
    host: Host, repo: repository.Repository, image_id: str
) -> None:
    with pytest.raises(exceptions.Invalid):
        repo.add(image_id, fail_if_read(), 0, 'sha256')
    assert host.is_clean()


def fail_if_read() -> Iterator[bytes]:
    """A stream that must not be read."""
    raise AssertionError('the stream was read')
    yield b''


def test_two_spellings_of_an_id_are_one_image(
    host: Host, repo: repository.Repository
) -> None:
    image = add(repo, DATA, 'ABCDEF-1')
    with pytest.raises(exceptions.Duplicate):
        repo.add('abcdef-1', fail_if_read(), 0, 'sha256')
    assert read(repo, dataclasses.replace(image, image_id='abcdef-1')) == DATA
    assert host.disagreements() == []
    repo.remove('abcdef-1', image.digest, image.token)
    assert host.is_clean()


def test_of_two_uploads_of_one_image_the_first_to_end_wins(
    host: Host, repo: repository.Repository
) -> None:
    def slow() -> Iterator[bytes]:
        yield DATA[:1000]
        add(repo, OTHER, 'image-1')
        yield DATA[1000:]

    with pytest.raises(exceptions.Duplicate):
        repo.add('image-1', slow(), len(DATA), 'sha256')
    assert read(repo, repo.catalog.bindings.image('image-1')) == OTHER
    assert len(host.copies()) == 1
    assert host.disagreements() == []


# The same content


def test_the_same_content_is_stored_once_and_goes_with_the_last_image(
    host: Host, repo: repository.Repository
) -> None:
    images = [add(repo, DATA) for _ in range(3)]
    (copy,) = host.copies()
    before = (copy / 'image').stat()
    for image in images[:-1]:
        remove(repo, image)
        assert read(repo, images[-1]) == DATA
        assert (copy / 'image').stat() == before
        with pytest.raises(exceptions.NotFound):
            read(repo, image)
        assert host.disagreements() == []
    remove(repo, images[-1])
    assert host.is_clean()


def test_the_same_content_needs_no_second_seal(tmp_path: pathlib.Path) -> None:
    steps: list[str] = []
    repo = Host(tmp_path, 'ssd:a:1').repository(steps.append)
    add(repo, DATA)
    steps.clear()
    add(repo, DATA)
    assert steps == ['staged', 'hashed', 'bound']


def test_an_uploader_gets_the_checksums_of_what_it_uploaded(
    repo: repository.Repository,
) -> None:
    first = repo.add('image-1', [DATA], 0, 'sha512').template
    second = repo.add('image-2', [DATA], 0, 'sha256').template
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
    repo: repository.Repository,
    act: Callable[[pathlib.Path], None],
) -> None:
    first = add(repo, DATA)
    (copy,) = host.copies()
    act(copy)
    second = add(repo, DATA)
    assert read(repo, first) == read(repo, second) == DATA
    assert [path.name.split('.')[0] for path in host.quarantined()] == [
        first.digest
    ]
    assert host.disagreements() == []


def test_the_quarantined_copy_of_an_old_layout_is_not_recorded_any_more(
    tmp_path: pathlib.Path,
) -> None:
    add(Host(tmp_path, 'ssd:a:1').repository(), DATA)
    # Its range goes to another location, by its weight.
    host = Host(tmp_path, 'ssd:a:1', 'ssd:b:999999')
    repo = host.repository()
    (copy,) = host.copies()
    assert copy.is_relative_to(host.paths[0])
    os.truncate(copy / 'image', 10)
    add(repo, DATA)
    (copy,) = host.copies()
    assert copy.is_relative_to(host.paths[1])
    assert host.disagreements() == []


# Whoever meets whom: the other one is another process, with its own
# repository, and comes at every step.


@pytest.mark.parametrize('step', repository.ADD_STEPS)
def test_another_upload_of_the_content_may_come_at_any_step(
    host: Host, step: str
) -> None:
    other = host.repository()
    coming = Meanwhile(lambda: add(other, DATA))
    images = [add(host.repository(once(step, coming)), DATA), coming.result()]
    assert [read(other, image) for image in images] == [DATA, DATA]
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', ['staged', 'hashed', 'bound'])
def test_the_only_other_image_may_go_at_any_step_of_an_upload(
    host: Host, step: str
) -> None:
    other = host.repository()
    gone = add(other, DATA)
    going = Meanwhile(lambda: remove(other, gone))
    image = add(host.repository(once(step, going)), DATA)
    going.result()
    assert read(other, image) == DATA
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', repository.REMOVE_STEPS)
def test_an_upload_of_the_content_may_come_at_any_step_of_a_removal(
    host: Host, step: str
) -> None:
    other = host.repository()
    coming = Meanwhile(lambda: add(other, DATA))
    repo = host.repository(once(step, coming))
    remove(repo, add(repo, DATA))
    assert read(repo, coming.result()) == DATA
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', repository.REMOVE_STEPS)
def test_nothing_stays_locked_after_a_removal_that_met_an_upload(
    host: Host, impatient: None, step: str
) -> None:
    other = host.repository()
    coming = Meanwhile(lambda: add(other, DATA))
    repo = host.repository(once(step, coming))
    remove(repo, add(repo, DATA))
    for image in (coming.result(), add(repo, DATA)):
        remove(repo, image)
    assert host.is_clean()


@pytest.mark.parametrize(
    'step', [*repository.ADD_STEPS, *repository.REMOVE_STEPS]
)
def test_another_process_may_start_at_any_step(host: Host, step: str) -> None:
    starting = Meanwhile(host.repository)
    repo = host.repository(once(step, starting))
    image = add(repo, DATA)
    assert read(repo, image) == DATA
    assert host.disagreements() == []
    remove(repo, image)
    starting.result()
    assert host.is_clean()


def test_a_reader_that_found_the_image_reads_it_to_the_end(
    host: Host, repo: repository.Repository
) -> None:
    image = add(repo, DATA)
    with contextlib.closing(
        repo.read(*hosts.parts(image), 0, None, 1000)
    ) as chunks:
        remove(repo, image)
        assert b''.join(chunks) == DATA
    assert host.is_clean()


def test_uploads_and_removals_of_one_content_race_without_harm(
    host: Host,
) -> None:
    repo = host.repository()
    problems: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(12):
            try:
                image = add(repo, OTHER)
                if read(repo, image) != OTHER:
                    problems.append('wrong bytes')
                remove(repo, image)
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


@pytest.mark.parametrize('step', repository.ADD_STEPS[:-2])
def test_an_upload_that_fails_at_any_step_leaves_nothing(
    host: Host, step: str
) -> None:
    repo = host.repository(once(step, fail(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        add(repo, DATA, 'image-1')
    assert host.unfinished() == host.copies() == []
    assert host.records('images') == host.records('templates') == {}
    assert read(repo, add(repo, DATA, 'image-1')) == DATA
    assert host.disagreements() == []


@pytest.mark.parametrize(
    'error', [exceptions.Unavailable('unreachable'), KeyboardInterrupt()]
)
def test_a_copy_that_cannot_be_bound_goes(
    host: Host,
    repo: repository.Repository,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repo.catalog.bindings, 'bind', fail(error))
    with pytest.raises(type(error)):
        add(repo, DATA)
    assert host.is_clean()


def test_a_binding_whose_answer_is_lost_is_undone(
    host: Host, repo: repository.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = repo.catalog.bindings.bind

    def bind_and_fail(*args: object) -> None:
        bind(*args)  # type: ignore[arg-type]
        raise exceptions.Unavailable('no answer')

    monkeypatch.setattr(repo.catalog.bindings, 'bind', bind_and_fail)
    with pytest.raises(exceptions.Unavailable):
        add(repo, DATA, 'image-1')
    assert host.is_clean()
    monkeypatch.undo()
    assert read(repo, add(repo, DATA, 'image-1')) == DATA


def test_a_lost_answer_does_not_unbind_the_image_of_another(
    host: Host, repo: repository.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = host.repository()
    first = add(other, OTHER, 'image-1')
    # The check at the start of the upload was too early to see it.
    monkeypatch.setattr(repo, '_check_new', lambda image_id: None)
    with pytest.raises(exceptions.Duplicate):
        add(repo, DATA, 'image-1')
    assert read(other, first) == OTHER
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize(
    'call', ['bindings.image', 'locations.all', 'copies.intend']
)
def test_an_upload_without_a_catalog_leaves_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    repo = host.repository()
    room, _, name = call.partition('.')
    monkeypatch.setattr(
        getattr(repo.catalog, room),
        name,
        fail(exceptions.Unavailable('unreachable')),
    )
    with pytest.raises(exceptions.Unavailable):
        add(repo, DATA)
    monkeypatch.undo()
    assert host.is_clean()


def test_a_removal_that_is_denied_changes_nothing(
    host: Host, repo: repository.Repository, forbid: Forbid
) -> None:
    image = add(repo, DATA)
    (copy,) = host.copies()
    forbid(copy.parents[2] / 'incoming')
    with pytest.raises(exceptions.WriteDenied):
        remove(repo, image)
    forbid.lift()
    assert read(repo, image) == DATA
    assert host.disagreements() == []


def test_a_removal_that_the_shelf_denies_changes_nothing(
    host: Host, repo: repository.Repository, forbid: Forbid
) -> None:
    image = add(repo, DATA)
    (copy,) = host.copies()
    forbid(copy.parent)
    with pytest.raises(exceptions.WriteDenied):
        remove(repo, image)
    forbid.lift()
    assert read(repo, image) == DATA
    assert host.disagreements() == []


def test_a_removal_needs_no_room(
    host: Host, repo: repository.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(repo, DATA)
    monkeypatch.setattr(
        local.LocalLocation, 'probe', fail(exceptions.NoSpace('full'))
    )
    remove(repo, image)
    assert host.is_clean()


def test_a_removal_is_remembered_while_the_disk_is_away(
    host: Host, repo: repository.Repository
) -> None:
    image = add(repo, DATA)
    (copy,) = host.copies()
    disk = copy.parents[2]
    disk.rename(host.root / 'away')
    disk.mkdir()
    with pytest.raises(exceptions.Unavailable):
        read(repo, image)
    remove(repo, image)
    with pytest.raises(exceptions.NotFound):
        read(repo, image)
    disk.rmdir()
    (host.root / 'away').rename(disk)
    host.repository()
    assert host.is_clean()


@pytest.mark.parametrize(
    'wrong',
    [{'image_id': 'another'}, {'token': '0' * 32}, {'digest': '0' * 64}],
)
def test_who_does_not_know_the_binding_learns_and_changes_nothing(
    host: Host, repo: repository.Repository, wrong: dict[str, str]
) -> None:
    image = add(repo, DATA)
    guess = dataclasses.replace(image, **wrong)
    messages = set()
    for call in (
        lambda: read(repo, guess),
        lambda: remove(repo, guess),
        lambda: repo.size(*hosts.parts(guess)),
    ):
        with pytest.raises(exceptions.NotFound) as caught:
            call()
        messages.add(str(caught.value))
    assert messages == {f'image {guess.image_id} is not stored here'}
    assert read(repo, image) == DATA


def test_a_template_that_the_catalog_lost_is_not_called_absent(
    host: Host, repo: repository.Repository
) -> None:
    image = add(repo, DATA)
    forget(host, f'templates/{image.digest}')
    assert repo.size(*hosts.parts(image)) == len(DATA), 'a copy is here'
    host.copies()[0].rename(host.root / 'elsewhere')
    with pytest.raises(exceptions.Unavailable):
        repo.size(*hosts.parts(image))


# A start


def test_a_start_with_nothing_to_do_changes_nothing(host: Host) -> None:
    image = add(host.repository(), DATA)
    before = {
        kind: host.records(kind)
        for kind in ('images', 'templates', 'locations')
    }
    repo = host.repository()
    assert read(repo, image) == DATA
    assert {kind: host.records(kind) for kind in before} == before
    assert host.disagreements() == []


def test_copies_that_the_catalog_lost_are_adopted(host: Host) -> None:
    image = add(host.repository(), DATA)
    for file in host.root.glob('catalog.sqlite*'):
        file.unlink()
    repo = host.repository()
    assert host.disagreements() == []
    record = repo.catalog.bindings.template(image.digest)
    assert record is not None
    assert record.images == ()
    with pytest.raises(exceptions.NotFound):
        read(repo, image)
    # The content is known again: the next upload of it stores nothing.
    (copy,) = host.copies()
    before = copy.stat()
    assert read(repo, add(repo, DATA)) == DATA
    assert os.path.samestat(copy.stat(), before)


@pytest.mark.parametrize('kind', ['templates', 'copies'])
def test_a_record_that_the_catalog_lost_is_made_anew(
    host: Host, kind: str
) -> None:
    image = add(host.repository(), DATA)
    (key,) = host.records(kind)
    forget(host, f'{kind}/{key}')
    repo = host.repository()
    assert read(repo, image) == DATA
    assert [*host.records('templates')] == [image.digest]
    (copy,) = host.records('copies').values()
    assert copy['complete']


def test_a_record_of_a_copy_that_is_gone_is_dropped(host: Host) -> None:
    repo = host.repository()
    image, kept = add(repo, DATA), add(repo, OTHER)
    (copy,) = host.copies(image.digest)
    copy.rename(host.root / 'gone')
    repo = host.repository()
    assert [key.split('/')[0] for key in host.records('copies')] == [
        kept.digest
    ]
    # The image is still known: this is a loss, not a removal.
    with pytest.raises(exceptions.Unavailable):
        read(repo, image)
    assert read(repo, kept) == OTHER
    # What was lost can be uploaded anew, and then is back.
    add(repo, DATA)
    assert read(repo, image) == DATA


@pytest.mark.parametrize('step', repository.ADD_STEPS)
def test_a_crash_at_any_step_of_an_upload_is_cleaned_up(
    host: Host, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = add(host.repository(), OTHER)
    crash(host, monkeypatch, step, lambda repo: add(repo, DATA, 'image-1'))
    repo = host.repository()
    assert host.disagreements() == []
    assert read(repo, kept) == OTHER
    if step == 'bound':
        assert read(repo, repo.catalog.bindings.image('image-1')) == DATA
    else:
        assert len(host.copies()) == 1
        assert read(repo, add(repo, DATA, 'image-1')) == DATA


@pytest.mark.parametrize('step', repository.REMOVE_STEPS)
def test_a_crash_at_any_step_of_a_removal_is_made_good(
    host: Host, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(host.repository(), DATA)
    crash(host, monkeypatch, step, lambda repo: remove(repo, image))
    host.repository()
    assert host.is_clean()


@pytest.mark.parametrize('step', repository.REMOVE_STEPS)
def test_a_crash_in_a_removal_does_not_hurt_the_next_upload(
    host: Host, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(host.repository(), DATA)
    survivor = host.repository()
    crash(host, monkeypatch, step, lambda repo: remove(repo, image))
    again = add(survivor, DATA)
    assert read(host.repository(), again) == DATA
    assert host.disagreements() == []


class Crash(BaseException):
    """The end of the process."""


def crash(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    act: Callable[[repository.Repository], object],
) -> None:
    """Let *act* come as far as *step*, with no cleaning up afterwards.

    tests/functional/test_crash.py does the same with a real SIGKILL.
    """
    with monkeypatch.context() as patch:

        def stop() -> None:
            patch.setattr(staging, 'erase', lambda path: None)
            patch.setattr(recovery.Recovery, 'decide', fail(Crash()))
            patch.setattr(bindings.Bindings, 'unbind', fail(Crash()))
            raise Crash

        with pytest.raises(Crash):
            act(host.repository(once(step, stop)))


def forget(host: Host, key: str) -> None:
    """Let the catalog lose an entry."""
    store = factory.build_catalog_store(host.catalog_url)
    assert store.commit(
        [], [catalog.contract.Delete(f'/tmpl/{hosts.CLUSTER}/v1/{key}')]
    )


def test_an_intent_without_a_copy_is_dropped(host: Host) -> None:
    repo = host.repository()
    location, *_ = repo.catalog.locations.all()
    repo.catalog.copies.intend('ab' * 32, location.id)
    host.repository()
    assert host.is_clean()


def test_an_intended_copy_is_not_adopted(host: Host) -> None:
    repo = host.repository()
    image = add(repo, DATA)
    ((key, copy),) = host.records('copies').items()
    forget(host, f'images/{image.image_id}')
    forget(host, f'templates/{image.digest}')
    forget(host, f'copies/{key}')
    repo.catalog.copies.intend(image.digest, copy['location_id'])
    host.repository()
    assert host.is_clean()


def test_the_intent_of_another_does_not_hurt_a_bound_copy(host: Host) -> None:
    repo = host.repository()
    image = add(repo, DATA)
    ((_, copy),) = host.records('copies').items()
    repo.catalog.copies.intend(image.digest, copy['location_id'])
    assert read(host.repository(), image) == DATA
    assert host.disagreements() == []


def test_entries_that_are_no_copies_are_quarantined(host: Host) -> None:
    repo = host.repository()
    image = add(repo, DATA)
    (copy,) = host.copies()
    # A copy under another name, and a directory that never was one.
    misnamed = copy.parent / ('f' * 64)
    misnamed.mkdir()
    for file in copy.iterdir():
        os.link(file, misnamed / file.name)
    (copy.parents[1] / 'zz' / 'else').mkdir(parents=True)
    (copy.parent / 'a-file').touch()
    repo = host.repository()
    assert sorted(path.name.split('.')[0] for path in host.quarantined()) == [
        'else',
        'f' * 64,
    ]
    assert read(repo, image) == DATA
    assert [path for path in host.copies() if path.is_dir()] == [copy]


def test_a_damaged_copy_is_quarantined_and_its_record_dropped(
    host: Host,
) -> None:
    repo = host.repository()
    image, kept = add(repo, DATA), add(repo, OTHER)
    (copy,) = host.copies(image.digest)
    (copy / 'template.json').unlink()
    (copy / 'template.json').write_text('{}')
    repo = host.repository()
    assert len(host.quarantined()) == 1
    assert [key.split('/')[0] for key in host.records('copies')] == [
        kept.digest
    ]
    with pytest.raises(exceptions.Unavailable):
        read(repo, image)
    assert read(repo, kept) == OTHER


def test_a_start_does_not_touch_what_another_process_works_on(
    host: Host,
) -> None:
    repo = host.repository()
    template = add(repo, DATA)
    (copy,) = host.copies()
    with fsutil.lock_directory(str(copy)) as _:  # type: ignore[union-attr]
        (copy / 'template.json').rename(copy / 'elsewhere')
        host.repository()
        assert copy.exists()
        (copy / 'elsewhere').rename(copy / 'template.json')
    assert read(repo, template) == DATA


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
    image = add(host.repository(), DATA)
    debris = [path / 'incoming' / 'debris' for path in host.paths]
    for path in debris:
        path.mkdir()
    for kind in ('locations', 'copies'):
        for key in host.records(kind):
            forget(host, f'{kind}/{key}')
    repo = factory.build_repository(host.options)
    room, _, name = call.partition('.')
    monkeypatch.setattr(
        getattr(repo.catalog, room),
        name,
        fail(exceptions.Unavailable('unreachable')),
    )
    with contextlib.suppress(exceptions.Unavailable):
        repo.open()
    monkeypatch.undo()
    repo.open()
    assert host.disagreements() == []
    assert len(host.records('locations')) == len(host.paths)
    assert read(repo, image) == DATA


def test_one_disk_that_turned_read_only_does_not_stop_the_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = host.repository()
    images = spread(host, lambda data: add(repo, data))
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
    repo = host.repository()
    assert not debris.exists()
    for data, image in images.items():
        if image.digest != damaged.name:
            assert read(repo, image) == data


def test_one_copy_that_cannot_be_read_does_not_stop_the_others(
    host: Host, repo: repository.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = add(repo, DATA), add(repo, OTHER)
    (copy,) = host.copies(bad.digest)
    opened = open

    def bad_sector(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path == str(copy / 'template.json'):
            raise OSError(errno.EIO, 'Input/output error', path)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr('builtins.open', bad_sector)
    repo = host.repository()
    assert read(repo, good) == OTHER
    assert read(repo, add(repo, b'something else')) == b'something else'
    monkeypatch.undo()
    assert read(repo, bad) == DATA
    assert host.disagreements() == []


def test_a_replaced_disk_gives_its_copies_up(host: Host) -> None:
    repo = host.repository()
    images = spread(host, lambda data: add(repo, data))
    gone = [
        path.name
        for path in host.copies()
        if path.is_relative_to(host.paths[0])
    ]
    old = json.loads((host.paths[0] / 'location.json').read_bytes())['id']
    host.paths[0].rename(host.root / 'broken')
    host.paths[0].mkdir()
    (host.paths[0] / 'replaced').touch()
    repo = host.repository()
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
                read(repo, image)
            remove(repo, image)
        else:
            assert read(repo, image) == data
    assert host.disagreements() == []
    assert read(repo, add(repo, DATA)) == DATA


def test_a_disk_that_comes_back_after_it_was_replaced_counts_again(
    host: Host,
) -> None:
    repo = host.repository()
    images = spread(host, lambda data: add(repo, data))
    host.paths[0].rename(host.root / 'pulled')
    host.paths[0].mkdir()
    (host.paths[0] / 'replaced').touch()
    host.repository()
    host.paths[0].rename(host.root / 'spare')
    (host.root / 'pulled').rename(host.paths[0])
    repo = host.repository()
    assert {data: read(repo, image) for data, image in images.items()} == {
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
    repo = host.repository()
    repo.require_writable()
    for path in host.paths[1:]:
        forbid(path / 'incoming')
    with pytest.raises(exceptions.WriteDenied) as caught:
        repo.require_writable()
    assert all(str(path) in str(caught.value) for path in host.paths)


def test_a_full_disk_is_no_reason_not_to_start(
    repo: repository.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        local.LocalLocation, 'probe', fail(exceptions.NoSpace('full'))
    )
    repo.require_writable()


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
        Host(tmp_path, **settings).repository()


def test_auto_places_by_hash_as_soon_as_there_is_an_ssd(
    tmp_path: pathlib.Path,
) -> None:
    disks = Host(tmp_path, 'hdd:a:1').repository()
    assert list(disks.policy().ranges()) == []
    mixed = Host(tmp_path, 'hdd:a:1', 'ssd:b:1').repository()
    assert {owner.path for *_, owner in mixed.policy().ranges()} == {
        str(tmp_path / 'b')
    }


def test_without_any_ssd_the_only_node_keeps_a_copy_on_its_disk(
    tmp_path: pathlib.Path,
) -> None:
    host = Host(tmp_path, 'staging:s:1', 'hdd:a:1')
    repo = host.repository()
    assert read(repo, add(repo, DATA)) == DATA
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
        host.repository().add(hosts.new_id(), stream(), size, 'md5')
    assert most[0] <= 2
