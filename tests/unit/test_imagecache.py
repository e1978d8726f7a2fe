"""The parts of the publisher; Nova itself is in the functional lane."""

import os
import pathlib
import stat
import subprocess
import sys
import time
import types

import pytest

from tests.host import content
from tests.host import digest_of
from tmpl_glance_store import exceptions
from tmpl_glance_store import formats
from tmpl_glance_store.imagecache import conversion
from tmpl_glance_store.imagecache import inspection
from tmpl_glance_store.imagecache import instances
from tmpl_glance_store.imagecache import ledger
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache import locks
from tmpl_glance_store.imagecache import ownership

MIB = 1 << 20
NAME = 'a' * 40
STRANGER = 12345

root_only = pytest.mark.skipif(os.geteuid() != 0,
                               reason='only root can change owners')


def owner_of(instances, user=None, group=None, hypervisor=None):
    return ownership.Ownership(types.SimpleNamespace(
        instances_path=str(instances), user=user, group=group,
        hypervisor_user=hypervisor))


def locks_of(instances, timeout=60.0, **options):
    return locks.Locks(str(instances), owner_of(instances, **options),
                       timeout)


def lock_file(instances):
    return instances / 'locks' / f'nova-{NAME}'


def is_free(instances):
    """Tell whether another process could take the lock."""
    return not subprocess.run([sys.executable, '-c', (
        'import fcntl, sys\n'
        'fcntl.lockf(open(sys.argv[1], "a"), fcntl.LOCK_EX | fcntl.LOCK_NB)'
        ), lock_file(instances)], stderr=subprocess.DEVNULL,
        check=False).returncode


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
    with subprocess.Popen([sys.executable, '-c', (
            'import fcntl, sys\nfile = open(sys.argv[1], "a")\n'
            'fcntl.lockf(file, fcntl.LOCK_EX)\nprint(flush=True)\n'
            'sys.stdin.read()'), lock_file(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as nova:
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
    with own.held(NAME) as ours:  # to publish, meanwhile
        assert ours
    assert not is_free(tmp_path)
    own.let_go(NAME)
    own.let_go(NAME)
    assert is_free(tmp_path)


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

    monkeypatch.setattr(locks.lockutils.InterProcessLock, 'acquire',
                        remove_once)
    with own.held(NAME) as ours:
        assert ours
        assert not is_free(tmp_path)


@root_only
def test_a_lock_file_is_novas_from_the_beginning(tmp_path):
    os.chown(tmp_path, STRANGER, STRANGER)
    with locks_of(tmp_path).held(NAME):
        pass
    for path in lock_file(tmp_path), lock_file(tmp_path).parent:
        assert (path.stat().st_uid, path.stat().st_gid) == (STRANGER,
                                                            STRANGER)
    assert stat.S_IMODE(lock_file(tmp_path).stat().st_mode) == 0o664
    assert [each.name for each in lock_file(tmp_path).parent.iterdir()] == [
        lock_file(tmp_path).name]


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
    with (pytest.raises(exceptions.WriteDenied, match='lock'),
          locks_of(tmp_path).held(NAME)):
        pass
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (0, 0o600)


def test_a_lock_file_that_is_none_makes_nobody_wait(tmp_path):
    lock_file(tmp_path).parent.mkdir()
    os.mkfifo(lock_file(tmp_path))
    with (pytest.raises(exceptions.WriteDenied, match='remove it'),
          locks_of(tmp_path).held(NAME)):
        pass


def test_without_the_directory_there_are_no_locks(tmp_path):
    with (pytest.raises(exceptions.WriteDenied, match='lock'),
          locks_of(tmp_path / 'gone', user=0, group=0).held(NAME)):
        pass


# Who reaches what


@root_only
@pytest.mark.parametrize(('mode', 'gid', 'may'), [
    (0o755, 0, True), (0o750, 0, False), (0o750, STRANGER, True),
    (0o705, STRANGER, False)])
def test_a_directory_on_the_way_may_be_an_obstacle(
        tmp_path, mode, gid, may):
    for each in (*tmp_path.parents, tmp_path):
        if stat.S_IMODE(each.stat().st_mode) & 0o001 == 0:
            each.chmod(0o755)
    inner = tmp_path / 'location'
    inner.mkdir()
    (inner / 'image').touch(0o444)
    os.chown(inner, 0, gid)
    inner.chmod(mode)
    obstacle = ownership.Person.of(STRANGER, STRANGER).obstacle(
        str(inner / 'image'))
    assert (obstacle is None) == may
    assert may or 'cannot enter' in obstacle
    assert ownership.Person.of(0).obstacle(str(inner / 'image')) is None


# The ledger


def entry(path, **fields):
    found = os.lstat(path)
    return ledger.Entry(**{
        'name': NAME, 'image_id': 'image', 'digest': 'd' * 64,
        'content': 'd' * 64, 'size': found.st_size, 'mode': 'reflink',
        'inode': found.st_ino, 'made_at': 1.0, **fields})


def test_what_is_written_is_read_again(tmp_path):
    (tmp_path / 'base').write_bytes(b'x')
    written = entry(tmp_path / 'base')
    ledger.Ledger(str(tmp_path)).write(written)
    book = ledger.Ledger(str(tmp_path))
    assert book.entries == {NAME: written}
    book.remove(NAME)
    assert ledger.Ledger(str(tmp_path)).entries == {}


def test_an_unreadable_entry_is_passed_over(tmp_path):
    (tmp_path / 'published').mkdir()
    (tmp_path / 'published' / f'{NAME}.json').write_text('{"name": ')
    assert ledger.Ledger(str(tmp_path)).entries == {}


def test_a_base_file_is_ours_if_it_is_the_very_file(tmp_path):
    base, other = tmp_path / 'base', tmp_path / 'other'
    base.write_bytes(b'x')
    other.write_bytes(b'x')
    ours = entry(base)
    assert ours.is_at(str(base))
    assert not ours.is_at(str(other))
    assert not ours.is_at(str(tmp_path / 'none'))


def test_a_mark_tells_files_with_one_number_apart(tmp_path):
    base = tmp_path / 'base'
    with base.open('wb') as file:
        ledger.set_mark(file.fileno())
    mark = ledger.read_mark(str(base))
    if not mark:
        pytest.skip('this file system has no extended attributes')
    assert entry(base, mark=mark).is_at(str(base))
    with base.open('wb') as file:  # the same inode, another life
        ledger.set_mark(file.fileno())
    assert not entry(base, mark=mark).is_at(str(base))


def test_a_hold_outlives_the_copy_and_goes_with_the_last_link(tmp_path):
    (tmp_path / 'image').write_bytes(b'x')
    book = ledger.Ledger(str(tmp_path))
    hold = pathlib.Path(book.hold(str(tmp_path / 'image'), 'd' * 64))
    assert book.hold(str(tmp_path / 'image'), 'd' * 64) == str(hold)
    (tmp_path / 'image').unlink()
    link = tmp_path / 'base'
    link.symlink_to(hold)
    book.write(entry(link, target=str(hold)))
    book.drop_holds()
    assert link.read_bytes() == b'x'
    book.remove(NAME)
    book.drop_holds()
    assert not hold.exists()


def test_a_link_of_ours_is_known_by_where_it_leads(tmp_path):
    (tmp_path / 'image').write_bytes(b'x')
    book = ledger.Ledger(str(tmp_path))
    (tmp_path / 'ours').symlink_to(book.hold(str(tmp_path / 'image'),
                                             'd' * 64))
    (tmp_path / 'theirs').symlink_to('/mnt/published/image')
    book.drop_holds()  # as if the disk were gone
    assert not (tmp_path / 'ours').exists()
    assert ledger.leads_to_hold(str(tmp_path / 'ours'))
    for other in 'theirs', 'image', 'none':
        assert not ledger.leads_to_hold(str(tmp_path / other))


# Instances


def test_a_disk_that_is_none_makes_nobody_wait(tmp_path):
    (tmp_path / 'vm').mkdir()
    os.mkfifo(tmp_path / 'vm' / 'disk')
    assert instances.Instances(str(tmp_path)).by_base() == {}


# Links


@pytest.fixture
def linker(tmp_path):
    def linker(publish):
        return linking.Linker(str(tmp_path), publish, 0o644,
                              owner_of(tmp_path))
    return linker


@pytest.mark.parametrize('publish', ['hardlink', 'symlink'])
def test_a_file_that_is_there_is_not_replaced(tmp_path, linker, publish):
    (tmp_path / 'image').write_bytes(b'ours')
    base = tmp_path / 'base'
    base.write_bytes(b'theirs')
    links = linker(publish)
    _, temp = links.make(str(tmp_path / 'image'),
                         lambda: str(tmp_path / 'image'))
    assert not links.place(temp, str(base))
    assert base.read_bytes() == b'theirs'
    base.unlink()
    _, temp = links.make(str(tmp_path / 'image'),
                         lambda: str(tmp_path / 'image'))
    assert links.place(temp, str(base))
    assert base.read_bytes() == b'ours'
    assert sorted(each.name for each in tmp_path.iterdir()) == ['base',
                                                                'image']


def test_a_way_that_does_not_work_says_why(tmp_path, linker):
    (tmp_path / 'image').write_bytes(b'ours')
    other = '/dev/shm/tmpl-test-other'
    links = linking.Linker('/dev/shm', 'hardlink', 0o644,
                           owner_of('/dev/shm'))
    if os.stat('/dev/shm').st_dev == tmp_path.stat().st_dev:
        pytest.skip('one file system')
    with pytest.raises(exceptions.WriteDenied, match='no hardlink: Invalid '
                                                     'cross-device link'):
        links.make(str(tmp_path / 'image'), lambda: other)
    assert not [each for each in os.listdir('/dev/shm')
                if each.startswith('.tmpl-')]


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
    subprocess.run(['qemu-img', 'convert', '-f', 'raw', '-O', image_format,
                    *options, raw, path], check=True)
    return path


@pytest.mark.parametrize(('image_format', 'options'), [
    ('qcow2', ()), ('qcow2', ('-c',)), ('vmdk', ()), ('vdi', ()),
    ('vhdx', ()), ('vmdk', ('-o', 'subformat=streamOptimized'))])
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


def test_a_disk_image_with_a_table_is_raw_and_an_iso_with_one_an_iso(
        tmp_path):
    path = tmp_path / 'disk'
    path.touch()
    os.truncate(path, 8 * MIB)
    subprocess.run(['sfdisk', '--quiet', path], input=b'label: gpt\n,,\n',
                   check=True)
    assert formats.inspect(str(path)) == 'gpt'
    with path.open('r+b') as file:
        file.seek(32768)
        file.write(b'\x01CD001\x01'.ljust(2048, b'\0'))
    assert formats.inspect(str(path)) == 'iso'
    assert inspection.inspect(str(path), None, 1 << 40).format == 'raw'


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
            str(tmp_path), str(workshop), 'd' * 64, 'qcow2', 8 * MIB,
            progress=lambda percentage: None, check=check)

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


def test_the_end_of_a_conversion_is_not_believed_without_its_record(
        tmp_path):
    (tmp_path / 'base.raw').write_bytes(b'x')
    assert conversion.find(str(tmp_path)) is None


def test_an_unfinished_conversion_is_begun_anew(tmp_path):
    path = image(tmp_path, 'qcow2')
    path.rename(tmp_path / 'image')
    workshop = tmp_path / 'workshop'
    workshop.mkdir()
    (workshop / 'base.raw').write_bytes(b'half of it')
    derived = conversion.convert(
        str(tmp_path), str(workshop), 'd' * 64, 'qcow2', 8 * MIB,
        progress=lambda percentage: None, check=lambda: None)
    assert conversion.find(str(tmp_path)) == derived
