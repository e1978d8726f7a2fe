# SPDX-License-Identifier: Apache-2.0
"""A copy, once it is there, and what crashes leave behind."""

import dataclasses
import errno
import os
import pathlib
from collections.abc import Callable

import pytest

from harness import host as hosts
from tests.unit.localstore.copies import DATA
from tests.unit.localstore.copies import facts
from tests.unit.localstore.copies import lock_is_free
from tests.unit.localstore.copies import place
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store.localstore import location as local


def test_a_copy_in_use_cannot_be_taken_for_removal(
    location: local.LocalLocation,
) -> None:
    copy = place(location)
    one = location.hold(copy.name, wait=0)
    other = location.hold(copy.name, wait=0)
    assert one
    assert other
    one.release()
    assert not lock_is_free(copy)
    other.release()
    assert lock_is_free(copy)


def test_a_copy_that_is_being_removed_is_waited_for(
    location: local.LocalLocation,
) -> None:
    copy = place(location)
    with fsutil.lock_directory(str(copy)):  # type: ignore[union-attr]
        with pytest.raises(exceptions.Unavailable, match='locked'):
            location.hold(copy.name, wait=0)
        location.withdraw(copy.name)
    assert location.hold(copy.name, wait=0) is None


def test_a_withdrawn_copy_leaves_nothing(
    location: local.LocalLocation,
) -> None:
    copy = place(location)
    location.withdraw(copy.name)
    assert not location.holds(copy.name)
    assert not os.listdir(location.paths.templates)
    assert not os.listdir(location.paths.incoming)


def test_a_withdrawn_copy_leaves_its_neighbour(
    location: local.LocalLocation,
) -> None:
    first, second = (place(location, data) for data in hosts.same_shelf())
    assert first.parent == second.parent
    location.withdraw(first.name)
    assert hosts.what_is_wrong(second) is None


def test_two_neighbours_can_be_withdrawn_at_once(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (place(location, data) for data in hosts.same_shelf())
    sync = fsutil.fsync_directory

    def fsync_directory(path: str) -> None:
        monkeypatch.undo()
        location.withdraw(second.name)
        sync(path)

    monkeypatch.setattr(fsutil, 'fsync_directory', fsync_directory)
    location.withdraw(first.name)
    assert not os.listdir(location.paths.templates)
    assert not os.listdir(location.paths.incoming)


def damage(name: str, data: bytes) -> Callable[[pathlib.Path], None]:
    """Return a function that overwrites a file of a copy."""

    def act(copy: pathlib.Path) -> None:
        (copy / name).chmod(0o600)
        (copy / name).write_bytes(data)

    return act


#: What can happen to a copy, short of bit rot in the image: its scrubber's.
DAMAGES = {
    'image truncated': damage('image', DATA[:-1]),
    'image longer': damage('image', DATA + b'x'),
    'image gone': lambda copy: (copy / 'image').unlink(),
    'template.json gone': lambda copy: (copy / 'template.json').unlink(),
    'template.json empty': damage('template.json', b''),
    'template.json not an object': damage('template.json', b'[1]'),
    'template.json lacks a field': damage('template.json', b'{"size": 1}'),
    'template.json not UTF-8': damage('template.json', b'\xff\xfe'),
    'template.json of another': damage(
        'template.json', facts(b'another')[0].to_json()
    ),
    'pieces gone': lambda copy: (copy / 'pieces').unlink(),
    'pieces empty': damage('pieces', b''),
    'pieces cut within a hash': damage('pieces', facts(DATA)[1][:-1]),
    'pieces of another': damage('pieces', facts(bytes(len(DATA)))[1]),
    'pieces all zero': damage('pieces', bytes(len(facts(DATA)[1]))),
    'piece size is nonsense': damage(
        'template.json',
        dataclasses.replace(facts(DATA)[0], piece_size=1).to_json(),
    ),
    'size is nonsense': damage(
        'template.json',
        dataclasses.replace(facts(DATA)[0], size='many').to_json(),
    ),  # type: ignore[arg-type]
    'nothing left': lambda copy: [file.unlink() for file in copy.iterdir()],
}


@pytest.mark.parametrize('act', DAMAGES.values(), ids=DAMAGES)
def test_a_copy_that_is_not_whole_is_quarantined(
    location: local.LocalLocation, act: Callable[[pathlib.Path], None]
) -> None:
    copy = place(location)
    act(copy)
    left = sorted(path.name for path in copy.iterdir())
    with pytest.raises(exceptions.CorruptCopy):
        location.hold(copy.name, wait=0)
    (quarantined,) = pathlib.Path(location.paths.quarantine).iterdir()
    assert quarantined.name.startswith(f'{copy.name}.')
    assert sorted(path.name for path in quarantined.iterdir()) == left
    assert not copy.exists()
    assert hosts.what_is_wrong(place(location)) is None


def test_a_template_can_be_quarantined_twice_within_a_second(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.time, 'time', lambda: 1e9)
    for _ in range(2):
        copy = place(location)
        (copy / 'pieces').unlink()
        with pytest.raises(exceptions.CorruptCopy):
            location.hold(copy.name, wait=0)
    assert len(os.listdir(location.paths.quarantine)) == 2


def test_a_copy_that_cannot_be_read_now_is_not_condemned(
    location: local.LocalLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = place(location)

    def no_more_files(*_: object) -> None:
        raise OSError(errno.EMFILE, 'Too many open files')

    monkeypatch.setattr('builtins.open', no_more_files)
    try:
        location.hold(copy.name, wait=0)
    except (OSError, exceptions.TmplError):
        pass
    finally:
        monkeypatch.undo()
    assert hosts.what_is_wrong(copy) is None
    assert lock_is_free(copy)


def test_a_copy_is_condemned_by_who_has_it_alone(
    location: local.LocalLocation,
) -> None:
    copy = place(location)
    (copy / 'pieces').unlink()
    reader = fsutil.lock_directory(str(copy), exclusive=False)
    assert reader is not None
    with reader, pytest.raises(exceptions.Unavailable):
        location.hold(copy.name, wait=0)
    assert copy.exists()


def test_debris_goes_and_what_is_being_written_stays(
    location: local.LocalLocation,
) -> None:
    incoming = pathlib.Path(location.paths.incoming)
    for name in ('crashed-upload', 'trash-1'):
        (incoming / name).mkdir()
        (incoming / name / 'image').write_bytes(b'half')
    with location.stage() as staged:
        staged.write(DATA)
        assert location.clean_incoming() == 2
        assert os.listdir(incoming) == [os.path.basename(staged.directory)]


def test_a_probe_stays_while_it_may_be_in_use(
    location: local.LocalLocation,
) -> None:
    incoming = pathlib.Path(location.paths.incoming)
    (incoming / '.probe-new').touch()
    (incoming / '.probe-old').touch()
    os.utime(incoming / '.probe-old', (0, 0))
    location.clean_incoming()
    assert os.listdir(incoming) == ['.probe-new']


@pytest.mark.parametrize('placed', [False, True])
def test_what_another_process_takes_away_meanwhile_is_no_trouble(
    location: local.LocalLocation,
    monkeypatch: pytest.MonkeyPatch,
    placed: bool,
) -> None:
    (pathlib.Path(location.paths.incoming) / 'debris').mkdir()
    template, pieces = facts(DATA)
    listdir = os.listdir
    with location.stage() as staged:
        staged.seal(template, pieces)

        def listdir_early(path: str) -> list[str]:
            monkeypatch.undo()
            names = [*listdir(path), '.probe-gone']
            if placed:
                staged.place(template.digest)
            # The debris comes after what has just gone.
            return sorted(names, key=lambda name: name == 'debris')

        monkeypatch.setattr(os, 'listdir', listdir_early)
        location.clean_incoming()
        assert 'debris' not in os.listdir(location.paths.incoming)


def test_what_cannot_be_removed_stays_and_is_no_trouble(
    location: local.LocalLocation,
) -> None:
    foreign = pathlib.Path(location.paths.incoming) / 'foreign' / 'directory'
    foreign.mkdir(parents=True)
    location.clean_incoming()
    assert foreign.exists()
