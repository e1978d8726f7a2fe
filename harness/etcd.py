# SPDX-License-Identifier: Apache-2.0
"""The real etcd, alone or as a cluster, for tests and for the demo.

:class:`Etcd` runs the members in a directory of its own, on free ports of the
loopback interface. Every process is stopped by its own pid.
"""

import contextlib
import pathlib
import shutil
import signal
import subprocess
import types
from collections.abc import Sequence
from typing import Any, Self

import etcd3gw
import requests

from harness import netns
from harness import programs
from harness import waiting
from harness.certificates import Authority

#: Seconds until a started etcd must answer, and a stopped one be gone.
START_DEADLINE = 60
STOP_DEADLINE = 20


class EtcdError(Exception):
    """etcd did not start; the message holds the end of its log."""


class Member:
    """One etcd process, and its data below *root*.

    :param authority: whose clients alone may connect, over TLS
    :param machine: where it runs; here, on loopback, unless given
    """

    def __init__(
        self,
        root: pathlib.Path,
        name: str,
        authority: Authority | None,
        options: Sequence[str] = (),
        machine: netns.Machine | None = None,
    ) -> None:
        self.name = name
        self.log = root / f'{name}.log'
        self._data = root / name
        self._options = options
        self._port, peer_port = programs.free_port(), programs.free_port()
        self._machine = machine
        self._address = machine.address if machine else '127.0.0.1'
        self.peer_url = f'http://127.0.0.1:{peer_port}'
        self._scheme = 'https' if authority else 'http'
        self.url = f'{self._scheme}://{self.host}'
        self._session = requests.Session()
        self._session.trust_env = False
        self._tls: list[str] = []
        if authority:
            files = authority.node(f'{root.name}-{name}', self._address)
            self._session.verify = files.ca
            self._session.cert = files.certificate, files.key
            # etcd's gateway is a client of etcd, with the same certificate.
            self._tls = [
                '--cert-file',
                files.certificate,
                '--key-file',
                files.key,
                '--client-cert-auth',
                '--trusted-ca-file',
                files.ca,
            ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Host and port, as in the catalog's URL."""
        return f'{self._address}:{self._port}'

    @property
    def running(self) -> bool:
        """Whether the process lives, be it paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def client(self) -> etcd3gw.Etcd3Client:
        """A plain client, for what the catalog has no use for."""
        client = etcd3gw.Etcd3Client(
            self._address,
            self._port,
            self._scheme,
            api_path='/v3/',
            timeout=START_DEADLINE,
        )
        client.session = self._session
        return client

    def launch(self, cluster: str) -> None:
        """Start the process; do not wait.

        :param cluster: all members, as for ``--initial-cluster``
        """
        run = self._machine.command if self._machine else _here
        with self.log.open('ab') as log:
            # setpriv: should we be killed, it dies too.
            self._process = subprocess.Popen(
                [
                    'setpriv',
                    '--pdeathsig',
                    'KILL',
                    *run('etcd'),
                    '--name',
                    self.name,
                    '--data-dir',
                    str(self._data),
                    '--listen-client-urls',
                    self.url,
                    '--advertise-client-urls',
                    self.url,
                    '--listen-peer-urls',
                    self.peer_url,
                    '--initial-advertise-peer-urls',
                    self.peer_url,
                    '--initial-cluster',
                    cluster,
                    *self._tls,
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_healthy(self) -> None:
        """Wait until the member serves, with a leader.

        :raises EtcdError: if it ends, or does not serve in time
        """
        if (
            not waiting.eventually(
                lambda: self.healthy or not self.running, START_DEADLINE
            )
            or not self.running
        ):
            raise EtcdError(f'{self.name} does not serve:\n{self.log_tail()}')

    @property
    def healthy(self) -> bool:
        """Whether the member serves, with a leader."""
        with contextlib.suppress(requests.RequestException, ValueError):
            answer = self._session.get(
                f'{self.url}/health', timeout=START_DEADLINE
            )
            return answer.json().get('health') == 'true'
        return False

    @property
    def leads(self) -> bool:
        """Whether the member is the leader; it has to be healthy."""
        status: Any = self.client.status()
        return status['leader'] == status['header']['member_id']

    def pause(self) -> None:
        """Make the process hang: it does nothing any more on return."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # Its threads stop one after the other.
        tasks = pathlib.Path(f'/proc/{self._process.pid}/task')
        assert waiting.eventually(
            lambda: all(
                '\nState:\tT' in (task / 'status').read_text()
                for task in tasks.iterdir()
            )
        )

    def resume(self) -> None:
        """Let the process go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process as an operator would; by force if need be."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_DEADLINE)
        self.kill()

    def kill(self) -> None:
        """SIGKILL the process, paused or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def save(self, backup: pathlib.Path) -> None:
        """Copy its data; it must not run."""
        shutil.copytree(self._data, backup)

    def restore(self, backup: pathlib.Path | None = None) -> None:
        """Put a backup in place of its data, or nothing; it must not run."""
        shutil.rmtree(self._data)
        if backup is not None:
            shutil.copytree(backup, self._data)

    def log_tail(self, size: int = 4000) -> str:
        """Return the end of the log."""
        return self.log.read_bytes()[-size:].decode(errors='replace')

    def close(self) -> None:
        """End the process at once; its data are not needed any more."""
        self.kill()
        self._session.close()


class Etcd:
    """An etcd of *size* members in the directory *root*.

    Run by this context manager.

    :param authority: speak TLS, to its clients only
    :param options: more options of every member
    :param machine: where it runs; here, on loopback, unless given
    """

    def __init__(
        self,
        root: pathlib.Path,
        size: int = 1,
        *,
        authority: Authority | None = None,
        options: Sequence[str] = (),
        machine: netns.Machine | None = None,
    ) -> None:
        root.mkdir(exist_ok=True)
        self._scheme = 'https' if authority else 'http'
        self.members = [
            Member(root, f'etcd{n}', authority, options, machine)
            for n in range(size)
        ]

    @property
    def url(self) -> str:
        """The catalog's URL, without the client's certificate."""
        return self.url_of(*self.members)

    def url_of(self, *members: Member) -> str:
        """Return the catalog's URL with these members only, in this order."""
        hosts = ','.join(member.host for member in members)
        return f'etcd+{self._scheme}://{hosts}'

    def __enter__(self) -> Self:
        try:
            self.start(*self.members)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: types.TracebackType | None,
    ) -> None:
        if error is not None:
            for member in self.members:
                error.add_note(
                    f'The end of {member.log}:\n{member.log_tail()}'
                )
        self._close()

    def start(self, *members: Member) -> None:
        """Start those of *members* that do not run; wait for them all."""
        cluster = ','.join(
            f'{member.name}={member.peer_url}' for member in self.members
        )
        for member in members:
            if not member.running:
                member.launch(cluster)
        for member in members:
            member.wait_until_healthy()

    def leader_first(self) -> list[Member]:
        """Return the members, the leader before the others."""
        return sorted(self.members, key=lambda member: not member.leads)

    def _close(self) -> None:
        for member in self.members:
            member.close()


def _here(*arguments: str) -> list[str]:
    return [*arguments]
