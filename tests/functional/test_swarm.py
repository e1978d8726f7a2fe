# SPDX-License-Identifier: Apache-2.0
"""The swarm, on real libtorrent sessions; those to be killed, in processes.

Nodes have addresses of their own on the loopback network.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

pytest.importorskip('libtorrent')

from harness import certificates
from tmpl_glance_store import exceptions
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls
from tmpl_glance_store.swarm import contract
from tmpl_glance_store.swarm import identity
from tmpl_glance_store.swarm import metainfo
from tmpl_glance_store.swarm import progress
from tmpl_glance_store.swarm import session
from tmpl_glance_store.swarm import settings

MIB = 1 << 20
PATIENCE = 60


@dataclasses.dataclass
class Content:
    """A template with its bytes and piece layer."""

    data: bytes
    template: objects.Template
    pieces: bytes

    @property
    def digest(self) -> str:
        return self.template.digest

    def write(self, directory: pathlib.Path) -> pathlib.Path:
        """Put a copy into *directory*, as a location has it."""
        directory.mkdir()
        path = directory / 'image'
        path.write_bytes(self.data)
        path.chmod(0o444)
        return path


def content(data: bytes) -> Content:
    hasher = merkle.TreeHasher()
    hasher.update(data)
    digest, layer = hasher.finish()
    return Content(
        data,
        objects.Template(
            digest=digest.hex(),
            size=len(data),
            position=0,
            checksum='',
            hashing_algo='sha512',
            multihash='',
            piece_size=hasher.piece,
            created_at=0.0,
        ),
        b''.join(layer),
    )


class Node:
    """A swarm in this process, and the digests it said had ended."""

    def __init__(self, address: str, **options: Any) -> None:
        self.ended: queue.Queue[str] = queue.Queue()
        self.swarm = session.Swarm(
            host=address, ended=self.ended.put, **{'port': 0, **options}
        )
        self.peer = (address, self.swarm.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.swarm.close()

    def now(self, what: Content) -> progress.Progress:
        result = self.swarm.progress(what.digest)
        assert result is not None
        return result

    def seed(self, what: Content, directory: pathlib.Path) -> None:
        self.swarm.seed(what.template, what.pieces, str(directory))

    def fetch(
        self, what: Content, directory: pathlib.Path, *peers: contract.Peer
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.swarm.fetch(what.template, what.pieces, str(directory))
        self.swarm.connect(what.digest, peers)

    def wait(self, what: Content, state: str = progress.COMPLETE) -> None:
        """Wait for the end of a transfer, which must be *state*."""
        assert self.ended.get(timeout=PATIENCE) == what.digest
        now = self.now(what)
        assert now.state == state, now


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Process:
    """A node in a process of its own."""

    def __init__(
        self,
        role: str,
        address: str,
        directory: pathlib.Path,
        what: Content,
        **options: Any,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tests.functional.test_swarm'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=pathlib.Path(__file__).parents[2],
        )
        assert self._process.stdin
        assert self._process.stdout
        print(
            json.dumps(
                {
                    'role': role,
                    'directory': str(directory),
                    'template': what.template.to_json().decode(),
                    'pieces': what.pieces.hex(),
                    'options': {'host': address, 'port': 0, **options},
                }
            ),
            file=self._process.stdin,
            flush=True,
        )
        self.peer = (address, int(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def _run_process() -> None:
    """Be the other side of :class:`Process`, until killed."""
    order = json.loads(sys.stdin.readline())
    swarm = session.Swarm(**order['options'])
    template = objects.Template.from_json(order['template'])
    begin = swarm.seed if order['role'] == 'seed' else swarm.fetch
    begin(template, bytes.fromhex(order['pieces']), order['directory'])
    print(swarm.port, flush=True)
    sys.stdin.read()
    swarm.close()


@pytest.fixture(scope='module')
def template() -> Content:
    return content(os.urandom(24 * MIB + 12345))


@pytest.fixture
def source(tmp_path: pathlib.Path, template: Content) -> Iterator[Node]:
    """A node that seeds the template."""
    template.write(tmp_path / 'source')
    with Node('127.0.0.2') as node:
        node.seed(template, tmp_path / 'source')
        yield node


@pytest.fixture
def target() -> Iterator[Node]:
    """A node that has nothing yet."""
    with Node('127.0.0.3') as node:
        yield node


@pytest.fixture(scope='module')
def authority(
    tmp_path_factory: pytest.TempPathFactory,
) -> certificates.Authority:
    return certificates.Authority(tmp_path_factory.mktemp('tls'))


@pytest.fixture(scope='module')
def files(authority: certificates.Authority) -> tls.Files:
    return authority.node('node', metainfo.NAME)


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of 8 MiB."""
    path = tmp_path / 'disk'
    path.mkdir()
    mount = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', path],
        capture_output=True,
    )
    if mount.returncode:
        pytest.skip('cannot mount a tmpfs')
    yield path
    subprocess.run(['umount', '-l', path], check=True)


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


class TestTransfer:
    @pytest.mark.parametrize(
        'size',
        [
            1,
            100,
            16 << 10,
            (16 << 10) + 1,
            200_000,
            256 << 10,
            (256 << 10) + 1,
            3 * MIB,
        ],
    )
    def test_a_file_of_any_size_arrives(self, tmp_path, target, size):
        what = content(os.urandom(size))
        what.write(tmp_path / 'source')
        with Node('127.0.0.2') as source:
            source.seed(what, tmp_path / 'source')

            target.fetch(what, tmp_path / 'target', source.peer)
            target.wait(what)

        assert (tmp_path / 'target/image').read_bytes() == what.data

    def test_pieces_of_more_than_the_smallest_size_arrive(
        self, tmp_path, target, monkeypatch
    ):
        # More than what may wait in memory for the disk, too.
        monkeypatch.setattr(merkle, 'MIN_PIECE', 16 * MIB)
        what = content(os.urandom(40 * MIB + 7))
        assert what.template.piece_size == 16 * MIB
        what.write(tmp_path / 'source')
        with Node('127.0.0.2') as source:
            source.seed(what, tmp_path / 'source')

            target.fetch(what, tmp_path / 'target', source.peer)
            target.wait(what)

        assert (tmp_path / 'target/image').read_bytes() == what.data

    def test_the_file_is_private_until_it_is_placed(
        self, tmp_path, template, source, target
    ):
        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)

        status = (tmp_path / 'target/image').stat()
        assert status.st_mode & 0o777 == 0o600
        assert target.now(template).done == template.template.size

    def test_a_fetched_copy_is_served_after_it_has_moved(
        self, tmp_path, template, source, target
    ):
        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)
        source.swarm.stop(template.digest)

        (tmp_path / 'target').rename(tmp_path / 'placed')
        target.seed(template, tmp_path / 'placed')
        with Node('127.0.0.4') as third:
            third.fetch(template, tmp_path / 'third', target.peer)
            third.wait(template)

        assert target.now(template).state == progress.SEEDING
        assert (tmp_path / 'third/image').read_bytes() == template.data

    def test_two_that_fetch_serve_each_other(
        self, tmp_path, template, source, target
    ):
        source.swarm.set_limits(upload=8 * MIB, download=0)
        with Node('127.0.0.4') as third:
            target.fetch(template, tmp_path / 'b', source.peer, third.peer)
            third.fetch(template, tmp_path / 'c', source.peer, target.peer)
            target.wait(template)
            third.wait(template)

            assert target.now(template).uploaded
            assert third.now(template).uploaded
        assert source.now(template).uploaded < 1.7 * len(template.data)

    def test_peers_may_be_told_before_they_are_there(
        self, tmp_path, template, target
    ):
        with socket.create_server(('127.0.0.2', 0)) as taken:
            port = taken.getsockname()[1]
        template.write(tmp_path / 'source')
        target.fetch(template, tmp_path / 'target', ('127.0.0.2', port))
        time.sleep(1)

        with Node('127.0.0.2', port=port) as source:
            source.seed(template, tmp_path / 'source')
            started = time.monotonic()
            while target.ended.empty() and time.monotonic() - started < 30:
                target.swarm.connect(template.digest, [source.peer])
                time.sleep(0.5)
            target.wait(template)

    def test_limits_change_while_a_transfer_runs(
        self, tmp_path, template, source, target
    ):
        target.swarm.set_limits(upload=0, download=2 * MIB)
        target.fetch(template, tmp_path / 'target', source.peer)
        eventually(lambda: target.now(template).peers)
        before = target.now(template).downloaded
        time.sleep(3)
        fetched = target.now(template).downloaded - before
        assert 3 * MIB < fetched < 9 * MIB

        target.swarm.set_limits(upload=0, download=0)
        started = time.monotonic()
        target.wait(template)

        assert time.monotonic() - started < 6

    def test_the_upload_limit_holds_towards_private_networks(
        self, tmp_path, template, source, target
    ):
        source.swarm.set_limits(upload=2 * MIB, download=0)
        target.fetch(template, tmp_path / 'target', source.peer)
        eventually(lambda: target.now(template).peers)
        time.sleep(2)

        assert target.now(template).downloaded < 8 * MIB

    def test_a_stopped_transfer_keeps_its_file(
        self, tmp_path, template, source, target
    ):
        target.swarm.set_limits(upload=0, download=4 * MIB)
        target.fetch(template, tmp_path / 'target', source.peer)
        eventually(lambda: target.now(template).done > MIB)

        target.swarm.stop(template.digest)

        assert target.swarm.progress(template.digest) is None
        assert (
            tmp_path / 'target/image'
        ).stat().st_size == template.template.size

    def test_it_closes_in_seconds_in_the_middle_of_a_transfer(
        self, tmp_path, template, source, target
    ):
        target.swarm.set_limits(upload=0, download=4 * MIB)
        target.fetch(template, tmp_path / 'target', source.peer)
        eventually(lambda: target.now(template).done > MIB)

        started = time.monotonic()
        target.swarm.close()

        assert time.monotonic() - started < 5


class TestHoles:
    def test_pieces_of_zeros_are_not_fetched(self, tmp_path, target):
        data = bytearray(64 * MIB)
        data[10 * MIB : 11 * MIB] = os.urandom(MIB)
        what = content(bytes(data))
        what.write(tmp_path / 'source')
        with Node('127.0.0.2') as source:
            source.seed(what, tmp_path / 'source')

            target.fetch(what, tmp_path / 'target', source.peer)
            target.wait(what)

            assert source.now(what).uploaded == MIB
        image = tmp_path / 'target/image'
        assert image.read_bytes() == what.data
        assert image.stat().st_blocks * 512 <= MIB + 64 * 1024

    @pytest.mark.parametrize('size', [100, 200_000, MIB + 5, 3 * MIB])
    def test_a_file_of_zeros_needs_no_peer(self, tmp_path, target, size):
        what = content(bytes(size))

        target.fetch(what, tmp_path / 'target')
        target.wait(what)

        image = tmp_path / 'target/image'
        assert image.read_bytes() == what.data
        assert not image.stat().st_blocks

    def test_zeros_within_a_piece_become_holes(self, tmp_path, target):
        piece = bytearray(os.urandom(256 << 10))
        piece[64 << 10 : 192 << 10] = bytes(128 << 10)
        what = content(bytes(piece) * 16)
        what.write(tmp_path / 'source')
        with Node('127.0.0.2') as source:
            source.seed(what, tmp_path / 'source')

            target.fetch(what, tmp_path / 'target', source.peer)
            target.wait(what)

        image = tmp_path / 'target/image'
        assert image.read_bytes() == what.data
        assert image.stat().st_blocks * 512 <= 2 * MIB + 64 * 1024


class TestCrashes:
    def test_a_killed_receiver_fetches_only_what_it_lacks(
        self, tmp_path, template, source, target
    ):
        with Process(
            'fetch',
            '127.0.0.4',
            tmp_path / 'target',
            template,
            download_limit=8 * MIB,
        ) as killed:
            source.swarm.connect(template.digest, [killed.peer])
            eventually(lambda: source.now(template).uploaded > 12 * MIB)
            killed.kill()
        # What the killed one had asked for may still be on its way out.
        before = source.now(template).uploaded

        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)

        assert (tmp_path / 'target/image').read_bytes() == template.data
        missing = len(template.data) - before
        assert target.now(template).downloaded < missing + 6 * MIB

    def test_bytes_that_never_reached_the_disk_are_fetched_again(
        self, tmp_path, template, source, target
    ):
        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)
        target.swarm.stop(template.digest)
        with open(tmp_path / 'target/image', 'r+b') as file:
            file.seek(5 * MIB)
            file.write(bytes(MIB))  # as after a power loss

        target.fetch(template, tmp_path / 'target', source.peer)
        target.wait(template)

        assert (tmp_path / 'target/image').read_bytes() == template.data
        assert target.now(template).downloaded == MIB

    def test_a_killed_seeder_may_come_back(self, tmp_path, template, target):
        template.write(tmp_path / 'source')
        with Process(
            'seed',
            '127.0.0.4',
            tmp_path / 'source',
            template,
            upload_limit=8 * MIB,
        ) as seeder:
            target.fetch(template, tmp_path / 'target', seeder.peer)
            eventually(lambda: target.now(template).done > 6 * MIB)
            seeder.kill()
            eventually(lambda: not target.now(template).peers)
        with Process(
            'seed',
            '127.0.0.4',
            tmp_path / 'source',
            template,
            port=seeder.peer[1],
        ):
            started = time.monotonic()
            while target.ended.empty() and time.monotonic() - started < 30:
                target.swarm.connect(template.digest, [seeder.peer])
                time.sleep(0.5)
            target.wait(template)

        assert time.monotonic() - started < 20
        assert target.now(template).downloaded < len(template.data) + 4 * MIB


class TestBadBytes:
    def test_a_liar_is_banned_and_nothing_of_it_counts(
        self, tmp_path, template, target, monkeypatch
    ):
        lie = bytearray(template.data)
        for at in range(0, len(lie), 100_000):
            lie[at] ^= 1
        Content(bytes(lie), template.template, b'').write(tmp_path / 'liar')
        monkeypatch.setitem(settings.SETTINGS, 'disable_hash_checks', True)
        with Node('127.0.0.4') as liar:
            liar.seed(template, tmp_path / 'liar')
            target.fetch(template, tmp_path / 'target', liar.peer)
            eventually(lambda: target.now(template).banned)
            time.sleep(1)

            now = target.now(template)
        assert now.banned == ('127.0.0.4',)
        assert now.done == 0
        assert now.downloaded < 8 * MIB
        assert now.state == progress.FETCHING

    def test_an_honest_peer_makes_up_for_a_liar(
        self, tmp_path, template, source, target, monkeypatch
    ):
        lie = bytearray(template.data)
        lie[::1000] = bytes(len(lie[::1000]))
        Content(bytes(lie), template.template, b'').write(tmp_path / 'liar')
        monkeypatch.setitem(settings.SETTINGS, 'disable_hash_checks', True)
        with Node('127.0.0.4') as liar:
            liar.seed(template, tmp_path / 'liar')
            target.fetch(template, tmp_path / 'target', liar.peer, source.peer)
            target.wait(template)

        assert (tmp_path / 'target/image').read_bytes() == template.data

    def test_a_copy_that_rots_is_not_served_and_not_mended(
        self, tmp_path, template, source, target
    ):
        rotten = bytearray(template.data)
        for at in range(0, len(rotten), 256 << 10):
            rotten[at] ^= 0x80
        copy = Content(bytes(rotten), template.template, b'')
        path = copy.write(tmp_path / 'rotten')
        before = path.stat()
        with Node('127.0.0.4') as rotting:
            rotting.seed(template, tmp_path / 'rotten')
            rotting.swarm.connect(template.digest, [source.peer])
            target.fetch(template, tmp_path / 'target', rotting.peer)
            rotting.wait(template, progress.FAILED)

            assert isinstance(
                rotting.now(template).error, exceptions.CorruptCopy
            )
            assert not target.now(template).downloaded
        assert path.read_bytes() == copy.data
        assert path.stat().st_mtime_ns == before.st_mtime_ns


class TestDisk:
    def test_a_full_disk_is_reported(
        self, small_disk, template, source, target
    ):
        target.fetch(template, small_disk / 'target', source.peer)
        target.wait(template, progress.FAILED)

        assert isinstance(target.now(template).error, exceptions.NoSpace)

    def test_a_fetch_goes_on_when_there_is_room_again(
        self, small_disk, template, source, target
    ):
        target.fetch(template, small_disk / 'target', source.peer)
        target.wait(template, progress.FAILED)
        subprocess.run(
            ['mount', '-o', 'remount,size=64m', small_disk], check=True
        )

        target.fetch(template, small_disk / 'target')
        target.wait(template)

        image = small_disk / 'target/image'
        assert image.read_bytes() == template.data

    def test_a_read_only_disk_is_reported(self, small_disk, template, target):
        (small_disk / 'target').mkdir()
        subprocess.run(['mount', '-o', 'remount,ro', small_disk], check=True)

        target.fetch(template, small_disk / 'target')
        target.wait(template, progress.FAILED)

        assert isinstance(target.now(template).error, exceptions.WriteDenied)

    def test_a_seed_without_its_file_is_reported(
        self, tmp_path, template, target
    ):
        (tmp_path / 'gone').mkdir()
        with Node('127.0.0.2') as source:
            source.seed(template, tmp_path / 'gone')
            target.fetch(template, tmp_path / 'target', source.peer)

            source.wait(template, progress.FAILED)


class TestListening:
    @pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.0.2.1'])
    def test_without_tls_it_listens_on_loopback_only(self, host):
        with pytest.raises(
            exceptions.BadConfiguration, match='tmpl_store_tls_ca'
        ):
            session.Swarm(host=host, port=0)

    def test_a_port_that_is_taken_is_reported(self):
        with socket.create_server(('127.0.0.2', 0)) as taken:
            port = taken.getsockname()[1]

            with pytest.raises(exceptions.BadConfiguration, match=str(port)):
                session.Swarm(host='127.0.0.2', port=port)

    def test_ipv6_works(self, tmp_path, template):
        template.write(tmp_path / 'source')
        with Node('::1') as source, Node('::1') as target:
            source.seed(template, tmp_path / 'source')
            target.fetch(template, tmp_path / 'target', source.peer)
            target.wait(template)


class TestTls:
    def test_nodes_of_a_cluster_serve_each_other(
        self, tmp_path, template, files
    ):
        template.write(tmp_path / 'source')
        with (
            Node('127.0.0.2', tls=files) as source,
            Node('127.0.0.3', tls=files) as target,
        ):
            # libtorrent 2.1 may stop listening after this one.
            source.swarm.set_limits(0, 0)
            source.seed(template, tmp_path / 'source')
            target.fetch(template, tmp_path / 'target', source.peer)
            target.wait(template)

        assert (tmp_path / 'target/image').read_bytes() == template.data

    @pytest.mark.parametrize('stranger_seeds', [False, True])
    def test_a_node_of_another_ca_gets_and_gives_nothing(
        self, tmp_path, template, files, stranger_seeds
    ):
        foreign = certificates.Authority(tmp_path, 'foreign').node(
            'node', metainfo.NAME
        )
        template.write(tmp_path / 'source')
        with (
            Node('127.0.0.2', tls=files) as native,
            Node('127.0.0.3', tls=foreign) as stranger,
        ):
            # It knows the torrent, which the API tells only to nodes.
            stranger.swarm._ca = native.swarm._ca
            seeder, taker = (
                (stranger, native) if stranger_seeds else (native, stranger)
            )
            seeder.seed(template, tmp_path / 'source')
            taker.fetch(template, tmp_path / 'target', seeder.peer)
            seeder.swarm.connect(template.digest, [taker.peer])
            time.sleep(3)

            assert taker.now(template).downloaded == 0
            assert taker.now(template).peers == 0
            assert seeder.now(template).uploaded == 0

    def test_a_peer_without_tls_is_refused(self, tmp_path, template, files):
        template.write(tmp_path / 'source')
        with Node('127.0.0.2', tls=files) as source:
            source.seed(template, tmp_path / 'source')
            handle = source.swarm._transfers[template.digest].handle
            info_hash = handle.info_hashes().get_best().to_bytes()
            with socket.create_connection(source.peer, timeout=10) as peer:
                peer.sendall(
                    b'\x13BitTorrent protocol'
                    + bytes(8)
                    + info_hash[:20]
                    + b'-XX0000-'
                    + bytes(12)
                )
                answer = b''
                with contextlib.suppress(ConnectionResetError):
                    while more := peer.recv(4096):
                        answer += more

            assert b'BitTorrent' not in answer
            assert info_hash[:20] not in answer

    def test_a_certificate_that_peers_would_refuse_ends_the_start(
        self, tmp_path, authority, files
    ):
        other = certificates.Authority(tmp_path, 'other').node(
            'node', metainfo.NAME
        )
        for bad in (
            authority.node('unnamed'),
            authority.node('old', metainfo.NAME, days=-1),
            dataclasses.replace(files, ca=other.ca),
            dataclasses.replace(files, key=other.key),
            dataclasses.replace(files, ca='/nonexistent'),
        ):
            with pytest.raises(
                exceptions.BadConfiguration, match=metainfo.NAME
            ):
                session.Swarm(host='127.0.0.2', port=0, tls=bad)

    def test_text_around_the_ca_does_not_change_the_torrent(
        self, tmp_path, files
    ):
        noisy = tmp_path / 'ca.pem'
        text = pathlib.Path(files.ca).read_text()
        noisy.write_text('# our CA\r\n' + text.replace('\n', '\r\n') + text)

        assert identity.prove(
            dataclasses.replace(files, ca=str(noisy))
        ) == identity.prove(files)


def test_threads_may_share_a_swarm(tmp_path, target):
    contents = [content(os.urandom(MIB + n)) for n in range(12)]
    with Node('127.0.0.2') as source:
        for number, each in enumerate(contents):
            each.write(tmp_path / f's{number}')

        def run(number: int, what: Content) -> None:
            source.seed(what, tmp_path / f's{number}')
            target.fetch(what, tmp_path / f't{number}', source.peer)
            for _ in range(20):
                target.now(what)
                source.swarm.connect(what.digest, [target.peer])

        threads = [
            threading.Thread(target=run, args=pair)
            for pair in enumerate(contents)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended = {target.ended.get(timeout=PATIENCE) for _ in contents}

    assert ended == {each.digest for each in contents}


if __name__ == '__main__':
    _run_process()
