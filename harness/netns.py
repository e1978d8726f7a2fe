# SPDX-License-Identifier: Apache-2.0
"""Machines on one switch: network namespaces with shaped links. Needs root.

``netem`` is often missing from kernels for virtual machines; ``tbf`` is not,
and a bandwidth is all that is shaped here.
"""

import contextlib
import ipaddress
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any, Self

_SUBNET = ipaddress.ip_network('10.213.0.0/16')


def available() -> bool:
    """Tell whether namespaces and shaped links can be made here."""
    if os.geteuid() or not shutil.which('ip') or not shutil.which('tc'):
        return False
    with contextlib.suppress(subprocess.CalledProcessError), Network() as net:
        net.add_machine(rate='1gbit')
        return True
    return False


class Machine:
    """A namespace with one address, on the switch of its network."""

    def __init__(self, namespace: str, address: str, port: str) -> None:
        self.namespace = namespace
        self.address = address
        self._port = port

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs a program on this machine."""
        return ['ip', 'netns', 'exec', self.namespace, *arguments]

    def popen(
        self, arguments: list[str], **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a program on this machine."""
        return subprocess.Popen(self.command(*arguments), **options)

    def unplug(self) -> None:
        """Pull the cable."""
        _run('ip', 'link', 'set', self._port, 'down')

    def plug(self) -> None:
        """Put the cable back."""
        _run('ip', 'link', 'set', self._port, 'up')


class Network:
    """A switch; what is left of it goes when the context ends."""

    def __init__(self) -> None:
        self._name = f'tg{uuid.uuid4().hex[:6]}'
        self._machines: list[Machine] = []

    def __enter__(self) -> Self:
        # The names fit in IFNAMSIZ: 15 bytes.
        _run('ip', 'link', 'add', self._name, 'type', 'bridge')
        try:
            _run('ip', 'link', 'set', self._name, 'up')
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self._machines:
            _run('ip', 'netns', 'delete', machine.namespace, check=False)
        _run('ip', 'link', 'delete', self._name, check=False)

    def join(self) -> None:
        """Let this machine be on the switch as well, as a client."""
        _run(
            'ip',
            'address',
            'add',
            f'{_SUBNET[-2]}/{_SUBNET.prefixlen}',
            'dev',
            self._name,
        )

    def add_machine(self, rate: str | None = None) -> Machine:
        """Return a new machine; its link has *rate* in both directions.

        :param rate: as ``tc`` spells it, such as ``200mbit``
        """
        number = len(self._machines) + 1
        namespace = f'{self._name}n{number}'
        port, address = f'{self._name}p{number}', str(_SUBNET[number])
        _run('ip', 'netns', 'add', namespace)
        machine = Machine(namespace, address, port)
        self._machines.append(machine)
        _run(
            'ip',
            'link',
            'add',
            port,
            'type',
            'veth',
            'peer',
            'name',
            'eth0',
            'netns',
            namespace,
        )
        inside = ('ip', '-n', namespace)
        _run(*inside, 'link', 'set', 'lo', 'up')
        _run(
            *inside,
            'address',
            'add',
            f'{address}/{_SUBNET.prefixlen}',
            'dev',
            'eth0',
        )
        if rate:
            _shape(('tc',), port, rate)
            _shape(('tc', '-n', namespace), 'eth0', rate)
        _run('ip', 'link', 'set', port, 'master', self._name, 'up')
        _run(*inside, 'link', 'set', 'eth0', 'up')
        return machine


@contextlib.contextmanager
def machines(count: int, rate: str | None = None) -> Iterator[list[Machine]]:
    """Give *count* machines on one switch."""
    with Network() as network:
        yield [network.add_machine(rate) for _ in range(count)]


def _shape(tc: tuple[str, ...], device: str, rate: str) -> None:
    _run(
        *tc,
        'qdisc',
        'replace',
        'dev',
        device,
        'root',
        'tbf',
        'rate',
        rate,
        'burst',
        '128kb',
        'latency',
        '20ms',
    )


def _run(*arguments: str, check: bool = True) -> None:
    subprocess.run(arguments, check=check, capture_output=True)
