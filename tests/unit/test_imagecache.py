# SPDX-License-Identifier: Apache-2.0
"""The parts of the publisher; Nova itself is in the functional lane."""

import dataclasses
import json
import os
import pathlib
import pwd
import queue
import shutil
import stat
import subprocess
import sys
import threading
import time
import types

import pytest

from harness.host import content
from harness.host import digest_of
from tmpl_glance_store import exceptions
from tmpl_glance_store.agent import scrubber
from tmpl_glance_store.disk_images import conversion
from tmpl_glance_store.disk_images import formats
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import downloads
from tmpl_glance_store.imagecache import instances
from tmpl_glance_store.imagecache import ledger
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache import locks
from tmpl_glance_store.imagecache import ownership
from tmpl_glance_store.imagecache import preparation
from tmpl_glance_store.imagecache import proofs

MIB = 1 << 20
NAME = 'a' * 40
STRANGER = 12345

root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can change owners'
)


def owner_of(instances, user=None, group=None, hypervisor=None):
    return ownership.Ownership(
        types.SimpleNamespace(
            instances_path=str(instances),
            user=user,
            group=group,
            hypervisor_user=hypervisor,
        )
    )


def locks_of(instances, timeout=60.0, **options):
    return locks.Locks(str(instances), owner_of(instances, **options), timeout)


def lock_file(instances):
    return instances / 'locks' / f'nova-{NAME}'


def is_free(instances):
    """Tell whether another process could take the lock."""
    return not subprocess.run(
        [
            sys.executable,
            '-c',
            (
                'import fcntl, sys\n'
                'fcntl.lockf(open(sys.argv[1], "a"), '
                'fcntl.LOCK_EX | fcntl.LOCK_NB)'
            ),
            lock_file(instances),
        ],
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode


# Locks


def test_a_lock_keeps_other_processes_out(tmp_path):
    with locks_of(tmp_path).held(NAME) as ours:
        assert ours
        assert not is_free(tmp_path)
    assert is_free(tmp_path)


def test_a_lock_that_nova_holds_is_not_waited_for(tmp_path):
    own = locks_of(tmp_path)
    with own.held(NAME):
        pass
    with subprocess.Popen(
        [
            sys.executable,
            '-c',
            (
                'import fcntl, sys\nfile = open(sys.argv[1], "a")\n'
                'fcntl.lockf(file, fcntl.LOCK_EX)\nprint(flush=True)\n'
                'sys.stdin.read()'
            ),
            lock_file(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as nova:
        nova.stdout.readline()
        with own.held(NAME) as ours:
            assert not ours
        assert not own.guard(NAME)
        nova.stdin.close()
    with own.held(NAME) as ours:
        assert ours


def test_a_guard_stays_until_it_is_let_go(tmp_path):
    own = locks_of(tmp_path)
    assert own.guard(NAME)
    assert own.guarded == {NAME}
    assert not is_free(tmp_path)
    own.let_go(NAME)
    own.let_go(NAME)
    assert is_free(tmp_path)


def test_a_guard_becomes_the_lock_of_who_publishes(tmp_path):
    own = locks_of(tmp_path)
    assert own.guard(NAME)
    with own.held(NAME) as ours:
        assert ours
        assert own.guarded == frozenset()
        assert not is_free(tmp_path)
    assert is_free(tmp_path)


def test_a_guard_ends_in_time_while_somebody_publishes(tmp_path):
    own = locks_of(tmp_path, timeout=0.2)
    with own.held('b' * 40):
        assert own.guard(NAME)
        deadline = time.monotonic() + 30
        while own.guarded and time.monotonic() < deadline:
            time.sleep(0.05)
        assert is_free(tmp_path)


def test_guards_take_one_thread_and_so_many_descriptors(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, '_MAX_GUARDS', 3)
    own = locks_of(tmp_path)
    before = threading.active_count()
    names = [f'{number:040}' for number in range(5)]
    assert [own.guard(name) for name in names] == [True] * 3 + [False] * 2
    assert threading.active_count() == before + 1
    own.let_go(names[0])
    assert own.guard(names[4])
    own.close()
    assert own.guarded == frozenset()


def test_what_a_crash_left_beside_the_locks_is_cleaned(tmp_path):
    own = locks_of(tmp_path)
    own.clean()  # there is not even a directory
    with own.held(NAME):
        (tmp_path / 'locks' / '.tmpl-x').touch()
    own.clean()
    assert [each.name for each in (tmp_path / 'locks').iterdir()] == [
        lock_file(tmp_path).name
    ]


def test_a_guard_ends_with_its_time(tmp_path):
    own = locks_of(tmp_path, timeout=0.2)
    assert own.guard(NAME)
    deadline = time.monotonic() + 30
    while own.guarded and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_free(tmp_path)


def test_all_guards_end_together(tmp_path):
    own = locks_of(tmp_path)
    assert own.guard(NAME)
    own.close()
    assert is_free(tmp_path)


def test_a_lock_file_that_was_removed_is_not_believed(tmp_path, monkeypatch):
    own = locks_of(tmp_path)
    acquire = locks.lockutils.InterProcessLock.acquire
    removed = []

    def remove_once(self, *args, **kwargs):
        taken = acquire(self, *args, **kwargs)
        if not removed:  # as Nova's cache manager does
            removed.append(os.unlink(self.path))
        return taken

    monkeypatch.setattr(
        locks.lockutils.InterProcessLock, 'acquire', remove_once
    )
    with own.held(NAME) as ours:
        assert ours
        assert not is_free(tmp_path)


@root_only
def test_a_lock_file_is_novas_from_the_beginning(tmp_path):
    os.chown(tmp_path, STRANGER, STRANGER)
    with locks_of(tmp_path).held(NAME):
        pass
    for path in lock_file(tmp_path), lock_file(tmp_path).parent:
        assert (path.stat().st_uid, path.stat().st_gid) == (STRANGER, STRANGER)
    assert stat.S_IMODE(lock_file(tmp_path).stat().st_mode) == 0o664
    assert [each.name for each in lock_file(tmp_path).parent.iterdir()] == [
        lock_file(tmp_path).name
    ]


@root_only
def test_a_lock_file_that_nova_could_not_open_is_mended(tmp_path):
    os.chown(tmp_path, STRANGER, STRANGER)
    lock_file(tmp_path).parent.mkdir()
    lock_file(tmp_path).touch(0o644)  # by root: Nova's boot would be ERROR
    with locks_of(tmp_path).held(NAME):
        pass
    found = lock_file(tmp_path).stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (STRANGER, 0o664)


@root_only
@pytest.mark.parametrize('make', [os.symlink, os.link])
def test_a_lock_file_is_not_the_way_to_another_file(tmp_path, make):
    os.chown(tmp_path, STRANGER, STRANGER)
    secret = tmp_path / 'secret'
    secret.touch(0o600)
    lock_file(tmp_path).parent.mkdir()
    make(secret, lock_file(tmp_path))
    with (
        pytest.raises(exceptions.WriteDenied, match='lock'),
        locks_of(tmp_path).held(NAME),
    ):
        pass
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (0, 0o600)


def test_a_lock_file_that_is_none_makes_nobody_wait(tmp_path):
    lock_file(tmp_path).parent.mkdir()
    os.mkfifo(lock_file(tmp_path))
    with (
        pytest.raises(exceptions.WriteDenied, match='remove it'),
        locks_of(tmp_path).held(NAME),
    ):
        pass


@root_only
def test_a_directory_is_not_the_way_to_somebody_elses(tmp_path):
    os.chown(tmp_path, STRANGER, STRANGER)
    elsewhere = tmp_path / 'etc'
    elsewhere.mkdir()
    (tmp_path / 'locks').symlink_to(elsewhere)
    os.chown(tmp_path / 'locks', STRANGER, STRANGER, follow_symlinks=False)
    with (
        pytest.raises(exceptions.WriteDenied, match='is a link'),
        locks_of(tmp_path).held(NAME),
    ):
        pass
    assert not list(elsewhere.iterdir())
    os.chown(elsewhere, STRANGER, STRANGER)
    with locks_of(tmp_path).held(NAME) as ours:
        assert ours
    os.chown(elsewhere, 0, 0)  # and it may be where root says
    os.chown(tmp_path / 'locks', 0, 0, follow_symlinks=False)
    with locks_of(tmp_path).held(NAME) as ours:
        assert ours


def test_without_the_directory_there_are_no_locks(tmp_path):
    with (
        pytest.raises(exceptions.WriteDenied, match='lock'),
        locks_of(tmp_path / 'gone', user=0, group=0).held(NAME),
    ):
        pass


# Who reaches what


@root_only
@pytest.mark.parametrize('name', [None, 'nobody'])
def test_novas_group_is_that_of_its_user_if_the_host_knows_it(tmp_path, name):
    known = pwd.getpwnam(name) if name else None
    user, group = (known.pw_uid, known.pw_gid) if known else (STRANGER, 0)
    os.chown(tmp_path, user, 0)
    assert owner_of(tmp_path).nova() == (user, group)
    assert owner_of(tmp_path, group=7).nova() == (user, 7)
    assert owner_of(tmp_path, user=3, group=7).nova() == (3, 7)


@root_only
@pytest.mark.parametrize(
    ('mode', 'gid', 'may'),
    [
        (0o755, 0, True),
        (0o750, 0, False),
        (0o750, STRANGER, True),
        (0o705, STRANGER, False),
    ],
)
def test_a_directory_on_the_way_may_be_an_obstacle(tmp_path, mode, gid, may):
    for each in (*tmp_path.parents, tmp_path):
        if stat.S_IMODE(each.stat().st_mode) & 0o001 == 0:
            each.chmod(0o755)
    inner = tmp_path / 'location'
    inner.mkdir()
    (inner / 'image').touch(0o444)
    os.chown(inner, 0, gid)
    inner.chmod(mode)
    obstacle = ownership.Person.of(STRANGER, STRANGER).obstacle(
        str(inner / 'image')
    )
    assert (obstacle is None) == may
    assert may or 'cannot enter' in obstacle
    assert ownership.Person.of(0).obstacle(str(inner / 'image')) is None


# The ledger


def entry(path, **fields):
    found = os.lstat(path)
    return ledger.Entry(
        **{
            'name': path.name,
            'image_id': 'image',
            'digest': 'd' * 64,
            'content': 'd' * 64,
            'size': found.st_size,
            'mode': 'reflink',
            'inode': found.st_ino,
            'made_at': 1.0,
            'directory': str(path.parent),
            'mount': '/',
            **fields,
        }
    )


def ledger_of(tmp_path, cache=None):
    return ledger.Ledger(str(tmp_path), str(cache or tmp_path))


def test_what_is_written_is_read_again(tmp_path):
    (tmp_path / NAME).write_bytes(b'x')
    written = entry(tmp_path / NAME)
    ledger_of(tmp_path).write(written)
    book = ledger_of(tmp_path)
    assert book.entries == {NAME: written}
    book.remove(book.entries[NAME])
    assert ledger_of(tmp_path).all() == []


def test_one_name_may_be_in_two_image_caches(tmp_path):
    caches = tmp_path / 'a', tmp_path / 'b'
    for cache in caches:
        cache.mkdir()
        (cache / NAME).write_bytes(b'x')
        ledger_of(tmp_path, cache).write(entry(cache / NAME))
    book = ledger_of(tmp_path, caches[0])
    assert book.entries[NAME].directory == str(caches[0])
    (other,) = book.elsewhere.values()
    assert other.directory == str(caches[1])
    book.remove(other)
    assert ledger_of(tmp_path, caches[1]).entries == {}
    assert ledger_of(tmp_path, caches[0]).entries == book.entries


@pytest.mark.parametrize(
    'text', ['', '{"name": ', '[]', '{"name": 5, "image_id": null}']
)
def test_what_an_unreadable_entry_may_hold_is_kept(tmp_path, text):
    (tmp_path / 'image').write_bytes(b'x')
    hold = pathlib.Path(
        ledger_of(tmp_path).hold(str(tmp_path / 'image'), 'd' * 64)
    )
    (tmp_path / 'published' / f'{NAME}.json').write_text(text)
    (tmp_path / 'published' / '.left').touch()
    book = ledger_of(tmp_path)
    assert book.all() == []
    book.drop_holds()
    assert hold.exists()
    assert not (tmp_path / 'published' / '.left').exists()


def test_an_entry_of_other_types_is_none(tmp_path):
    (tmp_path / NAME).write_bytes(b'x')
    fields = dataclasses.asdict(entry(tmp_path / NAME))
    ledger.Entry.from_json(json.dumps(fields))
    for name, value in (('inode', '1'), ('name', None), ('target', [])):
        with pytest.raises(ValueError, match=name):
            ledger.Entry.from_json(json.dumps({**fields, name: value}))


def test_a_base_file_is_ours_if_it_is_the_very_file(tmp_path):
    base, other = tmp_path / NAME, tmp_path / 'other'
    base.write_bytes(b'x')
    other.write_bytes(b'x')
    ours = entry(base)
    assert ours.is_there()
    other.rename(base)
    assert not ours.is_there()
    base.unlink()
    assert not ours.is_there()


def test_of_a_file_system_that_is_not_mounted_nothing_is_known(tmp_path):
    (tmp_path / NAME).write_bytes(b'x')
    below = entry(tmp_path / NAME, mount='/srv/nova')
    for mount, hidden in (
        ('/', True),
        ('/srv', True),
        ('/srv/nova', False),
        ('/srv/nova/deeper', False),
        ('/srv/no', False),
    ):
        assert below.is_hidden(mount) == hidden, mount
    assert not entry(tmp_path / NAME).is_hidden('/')


def test_a_mark_tells_files_with_one_number_apart(tmp_path):
    base = tmp_path / NAME
    with base.open('wb') as file:
        ledger.set_mark(file.fileno())
    mark = ledger.read_mark(str(base))
    if not mark:
        pytest.skip('this file system has no extended attributes')
    assert entry(base, mark=mark).is_there()
    with base.open('wb') as file:  # the same inode, another life
        ledger.set_mark(file.fileno())
    assert not entry(base, mark=mark).is_there()


def test_a_hold_outlives_the_copy_and_goes_with_the_last_link(tmp_path):
    (tmp_path / 'image').write_bytes(b'x')
    book = ledger_of(tmp_path)
    hold = pathlib.Path(book.hold(str(tmp_path / 'image'), 'd' * 64))
    assert book.hold(str(tmp_path / 'image'), 'd' * 64) == str(hold)
    (tmp_path / 'image').unlink()
    link = tmp_path / NAME
    link.symlink_to(hold)
    book.write(entry(link, target=str(hold)))
    book.drop_holds()
    assert link.read_bytes() == b'x'
    book.remove(book.entries[NAME])
    book.drop_holds()
    assert not hold.exists()


def test_a_link_of_ours_is_known_by_where_it_leads(tmp_path):
    (tmp_path / 'image').write_bytes(b'x')
    book = ledger_of(tmp_path)
    (tmp_path / 'ours').symlink_to(
        book.hold(str(tmp_path / 'image'), 'd' * 64)
    )
    (tmp_path / 'theirs').symlink_to('/mnt/published/image')
    book.drop_holds()  # as if the disk were gone
    assert not (tmp_path / 'ours').exists()
    assert ledger.held_content(str(tmp_path / 'ours')) == 'd' * 64
    for other in 'theirs', 'image', 'none':
        assert ledger.held_content(str(tmp_path / other)) is None


# Instances


def overlay(path, base, *options):
    path.parent.mkdir(exist_ok=True)
    subprocess.run(
        [
            'qemu-img',
            'create',
            '-q',
            '-u',
            '-f',
            'qcow2',
            '-F',
            'qcow2',
            '-b',
            base,
            *options,
            path,
            '1M',
        ],
        check=True,
    )


@pytest.mark.parametrize('name', ['disk', 'disk.info'])
def test_what_is_no_file_makes_nobody_wait(tmp_path, name):
    overlay(tmp_path / 'vm' / 'disk', tmp_path / '_base' / NAME)
    (tmp_path / 'vm' / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / 'vm' / name)
    found = instances.Instances(str(tmp_path)).by_base()
    assert found == ({NAME: ['vm']} if name == 'disk.info' else {})


@pytest.mark.parametrize(
    'options', [(), ('-o', 'compat=0.10'), ('-o', 'cluster_size=2M')]
)
def test_instances_are_found_through_all_disks_that_they_sit_on(
    tmp_path, options
):
    base = tmp_path / '_base' / NAME
    overlay(tmp_path / 'vm' / 'disk', tmp_path / 'vm' / 'before', *options)
    overlay(tmp_path / 'vm' / 'before', base)  # of a snapshot
    overlay(tmp_path / 'other' / 'disk', f'/nova/instances/_base/{NAME}')
    assert instances.Instances(str(tmp_path)).by_base()[NAME] == [
        'other',
        'vm',
    ]


def test_a_look_that_hangs_keeps_nobody_else_waiting(tmp_path, monkeypatch):
    overlay(tmp_path / 'vm' / 'disk', tmp_path / '_base' / NAME)
    shown = instances.Instances(str(tmp_path))
    assert shown.by_base() == {NAME: ['vm']}
    monkeypatch.setattr(instances, '_PATIENCE', 0.1)
    with shown._looking:
        (tmp_path / 'vm' / 'disk').unlink()
        assert shown.by_base() == {NAME: ['vm']}
    assert shown.by_base() == {}


def test_a_raw_disk_is_its_guests_own(tmp_path):
    overlay(tmp_path / 'vm' / 'disk', tmp_path / '_base' / NAME)
    # Nova's own record, by the path in its container.
    (tmp_path / 'vm' / 'disk.info').write_text(
        json.dumps({'/nova/instances/vm/disk': 'raw'})
    )
    assert instances.Instances(str(tmp_path)).by_base() == {}


@pytest.mark.parametrize(
    'name', ['nbd:localhost:1', 'json:{"driver":"nbd"}', '/nowhere/x']
)
def test_what_a_disk_names_is_not_opened(tmp_path, monkeypatch, name):
    overlay(tmp_path / 'vm' / 'disk', name)
    opened = []
    really_open = os.open

    def noting(path, *args, **kwargs):
        opened.append(str(path))
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(os, 'open', noting)
    instances.Instances(str(tmp_path)).by_base()
    assert {os.path.basename(each) for each in opened} == {'disk', 'disk.info'}


# Links


@pytest.fixture
def linker(tmp_path):
    def linker(publish):
        return linking.Linker(
            str(tmp_path), publish, 0o644, owner_of(tmp_path)
        )

    return linker


@pytest.mark.parametrize('publish', ['hardlink', 'symlink'])
def test_a_file_that_is_there_is_not_replaced(tmp_path, linker, publish):
    (tmp_path / 'image').write_bytes(b'ours')
    base = tmp_path / 'base'
    base.write_bytes(b'theirs')
    links = linker(publish)
    _, temp = links.make(
        str(tmp_path / 'image'), lambda: str(tmp_path / 'image')
    )
    assert not links.place(temp, str(base))
    assert base.read_bytes() == b'theirs'
    base.unlink()
    _, temp = links.make(
        str(tmp_path / 'image'), lambda: str(tmp_path / 'image')
    )
    assert links.place(temp, str(base))
    assert base.read_bytes() == b'ours'
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        'base',
        'image',
    ]


def test_a_way_that_does_not_work_says_why(tmp_path, linker):
    (tmp_path / 'image').write_bytes(b'ours')
    other = '/dev/shm/tmpl-test-other'
    links = linking.Linker('/dev/shm', 'hardlink', 0o644, owner_of('/dev/shm'))
    if os.stat('/dev/shm').st_dev == tmp_path.stat().st_dev:
        pytest.skip('one file system')
    with pytest.raises(
        exceptions.WriteDenied, match='no hardlink: Invalid cross-device link'
    ):
        links.make(str(tmp_path / 'image'), lambda: other)
    assert not [
        each for each in os.listdir('/dev/shm') if each.startswith('.tmpl-')
    ]


def test_what_a_crash_left_is_cleaned(tmp_path, linker):
    (tmp_path / '.tmpl-1').write_bytes(b'half')
    (tmp_path / NAME).write_bytes(b'whole')
    linker('auto').clean()
    assert [each.name for each in tmp_path.iterdir()] == [NAME]


# Inspection and conversion


def image(tmp_path, image_format, *options):
    raw = tmp_path / 'disk.raw'
    raw.write_bytes(content(MIB))
    os.truncate(raw, 8 * MIB)
    path = tmp_path / f'disk.{image_format}'
    subprocess.run(
        [
            'qemu-img',
            'convert',
            '-f',
            'raw',
            '-O',
            image_format,
            *options,
            raw,
            path,
        ],
        check=True,
    )
    return path


@pytest.mark.parametrize(
    ('image_format', 'options'),
    [
        ('qcow2', ()),
        ('qcow2', ('-c',)),
        ('vmdk', ()),
        ('vdi', ()),
        ('vhdx', ()),
        ('vmdk', ('-o', 'subformat=streamOptimized')),
    ],
)
def test_good_images_pass(tmp_path, image_format, options):
    path = image(tmp_path, image_format, *options)
    found = inspection.inspect(str(path), image_format, 1 << 40)
    assert (found.format, found.virtual_size) == (image_format, 8 * MIB)


def test_raw_is_whatever_is_nothing_else(tmp_path):
    path = tmp_path / 'raw'
    path.write_bytes(content(100))
    assert inspection.inspect(str(path), 'raw', 1 << 40).format == 'raw'


def test_an_image_is_what_it_was_when_uploaded(tmp_path):
    path = image(tmp_path, 'qcow2')
    with pytest.raises(inspection.Refused, match='was raw when uploaded'):
        inspection.inspect(str(path), 'raw', 1 << 40)
    assert inspection.inspect(str(path), None, 1 << 40).format == 'qcow2'


def test_a_disk_may_be_too_large(tmp_path):
    path = image(tmp_path, 'qcow2')
    with pytest.raises(inspection.Refused, match='max_virtual_size'):
        inspection.inspect(str(path), 'qcow2', 8 * MIB - 1)


def test_a_disk_image_with_a_table_is_raw_and_an_iso_with_one_an_iso(tmp_path):
    path = tmp_path / 'disk'
    path.touch()
    os.truncate(path, 8 * MIB)
    subprocess.run(
        ['sfdisk', '--quiet', path], input=b'label: gpt\n,,\n', check=True
    )
    assert formats.inspect(str(path)) == 'gpt'
    with path.open('r+b') as file:
        file.seek(32768)
        file.write(b'\x01CD001\x01'.ljust(2048, b'\0'))
    assert formats.inspect(str(path)) == 'iso'
    assert inspection.inspect(str(path), None, 1 << 40).format == 'raw'


@pytest.fixture
def qemu_img(tmp_path, monkeypatch):
    """Let a script of our own stand before qemu-img."""

    def replace(script):
        directory = tmp_path / 'bin'
        directory.mkdir(exist_ok=True)
        (directory / 'qemu-img').write_text(f'#!/bin/sh\n{script}\n')
        (directory / 'qemu-img').chmod(0o755)
        for each in (directory, *directory.parents):
            if each.stat().st_mode & 0o001 == 0:
                each.chmod(0o755)  # it runs as nobody
        monkeypatch.setenv('PATH', f'{directory}:{os.environ["PATH"]}')

    return replace


@pytest.mark.parametrize(
    ('script', 'error'),
    [
        ('kill -KILL $$', exceptions.Unavailable),  # short of memory
        ('kill -TERM $$', exceptions.Unavailable),
        ('kill -XCPU $$', inspection.Refused),
        ('kill -ABRT $$', inspection.Refused),
        ('echo no such format >&2; exit 1', inspection.Refused),
        ('echo {', inspection.Refused),
        ('yes complaint >&2', inspection.Refused),
        ('yes answer', inspection.Refused),
    ],
)
def test_only_what_qemu_img_says_itself_refuses_an_image(
    tmp_path, qemu_img, script, error
):
    path = image(tmp_path, 'qcow2')
    qemu_img(script)
    with pytest.raises(error):
        inspection.inspect(str(path), 'qcow2', 1 << 40)


def test_without_qemu_img_nothing_is_refused(tmp_path, monkeypatch):
    path = image(tmp_path, 'qcow2')
    (tmp_path / 'bin').mkdir()
    for name in 'prlimit', 'setpriv':
        (tmp_path / 'bin' / name).symlink_to(shutil.which(name))
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    with pytest.raises(exceptions.Unavailable, match='qemu-img'):
        inspection.inspect(str(path), 'qcow2', 1 << 40)


def test_bytes_that_break_the_inspectors_are_unsafe_and_of_no_format(tmp_path):
    data = (
        b'# Disk DescriptorFile\nversion=1\nCID=fffffffe\n'
        b'parentCID=ffffffff\ncreateType="monolithicFlat"\n'
        b'RW 8 FLAT "/etc/passwd" 0\n'
    ).ljust(4096, b'\n') + content(MIB)
    (tmp_path / 'image').write_bytes(data)
    assert formats.detect(data) is None
    with pytest.raises(formats.Unsafe):
        formats.inspect(str(tmp_path / 'image'))


def test_a_conversion_is_whole_or_not_there(tmp_path):
    path = image(tmp_path, 'qcow2')
    path.rename(tmp_path / 'image')
    workshop = tmp_path / 'workshop'

    class Enough(Exception):
        pass

    def stop():
        raise Enough

    def convert(check):
        return conversion.convert(
            str(tmp_path),
            str(workshop),
            'd' * 64,
            'qcow2',
            8 * MIB,
            progress=lambda percentage: None,
            check=check,
        )

    with pytest.raises(Enough):
        convert(stop)
    assert conversion.find(str(tmp_path)) is None
    assert not workshop.exists()
    derived = convert(lambda: None)
    assert conversion.find(str(tmp_path)) == derived
    raw = (tmp_path / 'base.raw').read_bytes()
    assert raw == content(MIB).ljust(8 * MIB, b'\0')
    assert derived.digest == digest_of(raw)
    conversion.discard(str(tmp_path))
    assert conversion.find(str(tmp_path)) is None


def test_the_end_of_a_conversion_is_not_believed_without_its_record(tmp_path):
    (tmp_path / 'base.raw').write_bytes(b'x')
    assert conversion.find(str(tmp_path)) is None


def test_an_unfinished_conversion_is_begun_anew(tmp_path):
    path = image(tmp_path, 'qcow2')
    path.rename(tmp_path / 'image')
    workshop = tmp_path / 'workshop'
    workshop.mkdir()
    (workshop / 'base.raw').write_bytes(b'half of it')
    derived = conversion.convert(
        str(tmp_path),
        str(workshop),
        'd' * 64,
        'qcow2',
        8 * MIB,
        progress=lambda percentage: None,
        check=lambda: None,
    )
    assert conversion.find(str(tmp_path)) == derived


# Downloads


def test_downloads_are_noticed_while_they_run_and_once_afterwards(tmp_path):
    shown = downloads.Downloads(str(tmp_path))
    names = [letter * 40 for letter in 'abc']
    (tmp_path / names[0]).touch()
    assert not shown.look()  # who knows since when
    (tmp_path / f'{names[1]}.part').touch()
    assert shown.look()
    assert not shown.look()
    wanted = frozenset(names)
    assert shown.take(wanted) == shown.take(wanted) == {names[1]}
    (tmp_path / f'{names[1]}.part').rename(tmp_path / names[1])
    (tmp_path / names[2]).touch()
    assert shown.look()
    assert shown.take(frozenset(names[:2])) == {names[1]}
    assert shown.take(wanted) == {names[2]}
    assert shown.take(wanted) == frozenset()


def test_without_novas_directory_nothing_is_downloaded(tmp_path):
    shown = downloads.Downloads(str(tmp_path / 'gone'))
    assert not shown.look()
    assert shown.take(frozenset([NAME])) == frozenset()


# Preparation


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def preparation_of(tmp_path, linker, clock=None):
    ended = queue.SimpleQueue()
    made = preparation.Preparation(
        types.SimpleNamespace(
            force_raw=True, max_virtual_size=1 << 44, convert_concurrency=1
        ),
        linker,
        lambda: ended.put(None),
        clock or Clock(),
    )
    return made, lambda: ended.get(timeout=30)


def held(path, image_format, has_room=True):
    """Return *path*, as if it were a copy in a location."""
    directory = path.parent / f'copy-{path.name}'
    directory.mkdir()
    path.rename(directory / 'image')
    for each in 'incoming', 'published':
        (path.parent / each).mkdir(exist_ok=True)
    return preparation.Held(
        types.SimpleNamespace(
            digest=digest_of(path.name.encode()), size=1, format=image_format
        ),
        ('image',),
        str(path.parent),
        str(directory),
        lambda size: has_room,
    )


def test_what_fails_is_tried_again_less_and_less_often(tmp_path, linker):
    clock = Clock()
    made, wait = preparation_of(tmp_path, linker('hardlink'), clock)
    full = held(image(tmp_path, 'qcow2'), 'qcow2', has_room=False)
    pauses = []
    for _ in range(8):
        assert made.get(full) is None
        wait()
        with pytest.raises(exceptions.NoSpace):
            made.get(full)
        pauses.append(made.next_change())
        clock.now += pauses[-1]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_a_copy_that_is_not_wanted_any_more_leaves_nothing(tmp_path, linker):
    links = linker('copy')
    made, wait = preparation_of(tmp_path, links)
    begun, go_on = threading.Event(), threading.Event()
    copy = links.copy

    def slow(source, check):
        made = copy(source, check)  # whole, but nobody knows of it yet
        begun.set()
        go_on.wait(30)
        return made

    links.copy = slow
    raw = tmp_path / 'raw'
    raw.write_bytes(content(MIB))
    assert made.get(held(raw, 'raw')) is None
    assert begun.wait(30)
    made.keep_only(())
    go_on.set()
    wait()
    assert not [
        each for each in tmp_path.iterdir() if each.name.startswith('.tmpl-')
    ]


def test_small_disks_go_before_large_ones(tmp_path, linker, monkeypatch):
    made, wait = preparation_of(tmp_path, linker('hardlink'))
    begun, go_on, order = threading.Event(), threading.Event(), []

    def convert(directory, *args, **kwargs):
        order.append(os.path.basename(directory))
        begun.set()
        go_on.wait(30)
        raise exceptions.Unavailable('not now')

    monkeypatch.setattr(conversion, 'convert', convert)
    for name, size in (('first', '1G'), ('huge', '10T'), ('small', '1M')):
        path = tmp_path / name
        subprocess.run(
            ['qemu-img', 'create', '-q', '-f', 'qcow2', path, size], check=True
        )
        made.get(held(path, 'qcow2'))
        assert begun.wait(30)
    # All are inspected by one thread, in order: the last one is now.
    raw = tmp_path / 'raw'
    raw.write_bytes(b'x')
    last = held(raw, 'raw')
    while made.get(last) is None:
        wait()
    go_on.set()
    for _ in range(3):
        wait()
    assert order == ['copy-first', 'copy-small', 'copy-huge']


def test_a_file_that_cannot_be_noted_as_proved_does_not_end_the_scrubber(
    tmp_path,
):
    def tell(good):
        raise OSError('read-only')

    (tmp_path / 'base').write_bytes(b'x')
    proof = proofs.Proof(str(tmp_path / 'base'), digest_of(b'x'), 1, tell)
    told = []
    made = scrubber.Scrubber(
        catalog=None,
        store=types.SimpleNamespace(locations=[]),
        copies=dict,
        rate=1 << 40,
        period=0.01,
        on_proved=told.append,
        on_bad=told.append,
        files=lambda period: [proof],
    )
    assert made.scrub_next()
    assert told == []
