# SPDX-License-Identifier: Apache-2.0
"""How fast a template reaches many nodes, against HTTP from one source.

Usage: ``python -m benchmarks.swarm [--size MiB] [--nodes N] [--rate MBIT]``,
as root: every node is a network namespace behind a shaped link. The nodes
share this machine's CPU; where it is short, the ratios suffer.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks import report
from benchmarks import stores
from harness import certificates
from harness import netns
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store import tls
from tmpl_glance_store.swarm import contract
from tmpl_glance_store.swarm import metainfo
from tmpl_glance_store.swarm import session
from tmpl_glance_store.swarm import settings

_PORT = 6881
_CHUNK = 1 << 20


class Member:
    """A process on a machine of the network, told what to do by JSON."""

    def __init__(self, machine: netns.Machine, **order: Any) -> None:
        self._process = machine.popen(
            [sys.executable, '-m', 'benchmarks.swarm', '--member'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell(order)

    def go(self) -> None:
        """Begin, all at once: first every member must be :meth:`ready`."""
        self._tell('go')

    def answer(self) -> Any:
        """Return the next thing that the member has to say."""
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def end(self) -> Any:
        """Let it end; return its last words."""
        self._tell('end')
        with self._process:
            return self.answer()

    def kill(self) -> None:
        self._process.kill()

    def _tell(self, what: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(what) + '\n')
        self._process.stdin.flush()


def measure(
    size: int, http_size: int, nodes: int, rate: int, secure: bool
) -> Iterator[report.Figure]:
    """Yield the figures; sizes are bytes, *rate* is in Mbit/s."""
    with (
        stores.scratch() as scratch,
        netns.machines(nodes + 1, f'{rate}mbit') as machines,
    ):
        root = pathlib.Path(scratch)
        ideal = size * 8 / (rate * 1e6)
        files = certificates.Authority(root).node('node', metainfo.NAME)
        template = _write_template(root, size)
        seconds, source, others = _run_swarm(
            machines, root, template, files if secure else None
        )
        http = _run_http(machines, root, http_size)
    label = f'{nodes} nodes at {rate} Mbit/s'
    last = max(seconds) / ideal
    yield report.figure(
        f'{size >> 20} MiB to {label}, last',
        last,
        'of ideal',
        '<= 1.3',
        last <= 1.3,
    )
    spread = max(seconds) / statistics.median(seconds)
    yield report.figure(
        'the last node against the median', spread, '', '<= 1.1', spread <= 1.1
    )
    sent = source['uploaded'] / size
    yield report.figure('copies that the source has sent', sent, '')
    faster = max(http) / http_size * size / max(seconds)
    wanted = 5 * nodes / 8
    yield report.figure(
        'faster than by HTTP from the source',
        faster,
        'times',
        f'>= {wanted:g}',
        faster >= wanted,
    )
    memory = max(each['memory'] for each in others) / 1024
    yield report.figure(
        'memory of a node, at most', memory, 'MiB', '<= 200', memory <= 200
    )
    yield report.figure(
        'CPU time of a node, for each GiB',
        statistics.mean(each['cpu'] for each in others) / size * (1 << 30),
        's',
    )


def _write_template(root: pathlib.Path, size: int) -> objects.Template:
    (root / 'source').mkdir()
    hasher = merkle.TreeHasher()
    with open(root / 'source/image', 'wb') as file:
        for _ in range(size // _CHUNK):
            chunk = os.urandom(_CHUNK)
            hasher.update(chunk)
            file.write(chunk)
        os.fchmod(file.fileno(), 0o444)
    root_hash, layer = hasher.finish()
    (root / 'pieces').write_bytes(b''.join(layer))
    return objects.Template(
        digest=merkle.identify(size, root_hash),
        root=root_hash.hex(),
        size=size,
        position=0,
        checksum='',
        hashing_algo='sha512',
        multihash='',
        piece_size=hasher.piece,
        created_at=0.0,
    )


@contextlib.contextmanager
def _together(members: list[Member]) -> Iterator[list[Member]]:
    """Start all *members* in the same moment."""
    try:
        for each in members:
            each.answer()
        for each in members:
            each.go()
        yield members
    finally:
        for each in members:
            each.kill()


def _run_swarm(
    machines: list[netns.Machine],
    root: pathlib.Path,
    template: objects.Template,
    files: tls.Files | None,
) -> tuple[list[float], Any, list[Any]]:
    addresses = [machine.address for machine in machines]
    members = []
    for number, machine in enumerate(machines):
        directory = root / (f'node{number}' if number else 'source')
        directory.mkdir(exist_ok=True)
        members.append(
            Member(
                machine,
                role='node' if number else 'source',
                host=machine.address,
                directory=str(directory),
                peers=[each for each in addresses if each != machine.address],
                pieces=str(root / 'pieces'),
                template=template.to_json().decode(),
                files=files and [files.ca, files.certificate, files.key],
            )
        )
    with _together(members):
        seconds = [each.answer() for each in members[1:]]
        source, *others = [each.end() for each in members]
    return seconds, source, others


def _run_http(
    machines: list[netns.Machine], root: pathlib.Path, size: int
) -> list[float]:
    """Return the seconds that each node takes to download *size* bytes."""
    server, *clients = machines
    url = f'http://{server.address}:8000/image'
    os.truncate(root / 'source/image', size)
    with server.popen(
        [
            sys.executable,
            '-m',
            'http.server',
            '--bind',
            server.address,
            '--directory',
            root / 'source',
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as serving:
        try:
            time.sleep(1)
            members = [
                Member(
                    client,
                    role='http',
                    url=url,
                    path=str(root / f'node{number}/image'),
                )
                for number, client in enumerate(clients, start=1)
            ]
            with _together(members):
                return [each.answer() for each in members]
        finally:
            serving.kill()


def _be_member() -> None:
    """Be the other side of :class:`Member`."""
    order = json.loads(sys.stdin.readline())
    if order['role'] == 'http':
        _download(order['url'], order['path'])
    else:
        _transfer(order)


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


def _download(url: str, path: str) -> None:
    _say('ready')
    sys.stdin.readline()
    start = time.monotonic()
    with urllib.request.urlopen(url) as response, open(path, 'wb') as file:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
    _say(time.monotonic() - start)


def _transfer(order: dict[str, Any]) -> None:
    files = tls.Files(*order['files']) if order['files'] else None
    if files is None:
        settings.is_loopback = lambda host: True
    template = objects.Template.from_json(order['template'])
    pieces = pathlib.Path(order['pieces']).read_bytes()
    peers = [(address, _PORT) for address in order['peers']]
    ended = threading.Event()
    swarm = session.Swarm(
        host=order['host'], port=_PORT, tls=files, ended=lambda _: ended.set()
    )
    with contextlib.closing(swarm):
        if order['role'] == 'source':
            swarm.seed(template, pieces, order['directory'])
        _say('ready')
        sys.stdin.readline()
        start = time.monotonic()
        if order['role'] == 'node':
            swarm.fetch(template, pieces, order['directory'])
        swarm.connect(template.digest, peers)
        if order['role'] == 'node':
            _wait(swarm, template.digest, peers, ended)
            _say(time.monotonic() - start)
        sys.stdin.readline()
        used = resource.getrusage(resource.RUSAGE_SELF)
        now = swarm.progress(template.digest)
        assert now
        _say(
            {
                'uploaded': now.uploaded,
                'memory': used.ru_maxrss,
                'cpu': used.ru_utime + used.ru_stime,
            }
        )


def _wait(
    swarm: session.Swarm,
    digest: str,
    peers: Iterable[contract.Peer],
    ended: threading.Event,
) -> None:
    """Wait for a fetch as an agent does: tell it of peers now and then."""
    while not ended.wait(2):
        swarm.connect(digest, peers)
    now = swarm.progress(digest)
    assert now
    if now.error:
        raise now.error


def main() -> None:
    """Run the benchmark, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, default=1024, help='MiB')
    parser.add_argument(
        '--http-size',
        type=int,
        default=256,
        help='MiB for the comparison with HTTP, whose time '
        'is then taken in proportion',
    )
    parser.add_argument('--nodes', type=int, default=8)
    parser.add_argument('--rate', type=int, default=200, help='Mbit/s')
    parser.add_argument('--plain', action='store_true', help='without TLS')
    parser.add_argument(
        '--member', action='store_true', help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.member:
        _be_member()
        return
    if not netns.available():
        parser.exit(1, 'needs root, ip, tc and the tbf queue\n')
    for _ in measure(
        args.size << 20,
        min(args.http_size, args.size) << 20,
        args.nodes,
        args.rate,
        not args.plain,
    ):
        pass


if __name__ == '__main__':
    main()
