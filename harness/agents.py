# SPDX-License-Identifier: Apache-2.0
"""A cluster of real ``tmpl-agent`` processes on this machine.

Each node has a loopback address of its own, its ports are free ones. Every
process is signalled by its own pid, and dies with us.
"""

import json
import pathlib
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Self

from harness import host as hosts
from harness import netns
from harness.certificates import Authority
from harness.host import CLUSTER
from harness.host import Host
from harness.waiting import eventually
from tmpl_glance_store import driver
from tmpl_glance_store import factory
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.swarm import metainfo

#: Seconds that are enough on the slowest machine.
LONG = 90

_SERVES = re.compile(r'Node \S+ serves (\S+) and (\S+)')
_TLS = 'tmpl_store_tls_ca', 'tmpl_store_tls_certificate', 'tmpl_store_tls_key'


def command(name: str) -> str:
    """Return the path of an installed command."""
    return str(pathlib.Path(sys.executable).with_name(name))


class Agent:
    """One node: its disks, and its agent, which may run or not.

    :param host: the node's disks and its options
    :param settings: what only the agent reads
    :param nova: its options of the group [nova]
    :param machine: where it runs; here unless given
    :param prefix: command that runs it, for example as another user
    """

    def __init__(
        self,
        host: Host,
        settings: dict[str, Any],
        machine: netns.Machine | None = None,
        nova: dict[str, Any] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.host = host
        self._machine = machine
        self.settings = settings
        self.nova = nova or {}
        self._prefix = prefix
        self.name = host.settings['tmpl_store_node']
        self.config = host.root / 'agent.conf'
        self.log = host.root / 'agent.log'
        self._seen = 0  # bytes of the log of earlier processes
        self._process: subprocess.Popen[bytes] | None = None
        host.root.mkdir(parents=True, exist_ok=True)
        self.log.touch()

    # The process

    def launch(self) -> Self:
        """Start the process; do not wait. From the main thread only."""
        self.write_config()
        self._seen = self.log.stat().st_size
        program = [
            *self._prefix,
            command('tmpl-agent'),
            '--config-file',
            str(self.config),
        ]
        if self._machine is not None:
            program = self._machine.command(*program)
        with self.log.open('ab') as log:
            # setpriv: should we be killed, it dies too.
            self._process = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'KILL', *program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def wait_until_served(self) -> Self:
        """Wait until the API answers."""
        assert eventually(
            lambda: self._endpoints() or not self.running, LONG
        ), f'{self.name} does not start'
        assert self.running, f'{self.name} has ended:\n{self.log_tail()}'
        return self

    def start(self) -> Self:
        """Start the process, and wait until its API answers."""
        return self.launch().wait_until_served()

    @property
    def running(self) -> bool:
        """Whether the process lives, be it paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of the process that runs now, or ran last."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL the process, paused or not, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Make the process hang."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process go on."""
        self._signal(signal.SIGCONT)

    def reload(self, **settings: Any) -> None:
        """Change the agent's options, and tell it."""
        self.settings.update(settings)
        self.write_config()
        self._signal(signal.SIGHUP)

    def terminate(self) -> tuple[int, float]:
        """End the process; return its exit code and the seconds it took."""
        assert self._process is not None
        start = time.monotonic()
        self._process.terminate()
        return self._process.wait(LONG), time.monotonic() - start

    def end(self) -> int:
        """Wait for the process to end by itself; return its exit code."""
        assert self._process is not None
        return self._process.wait(LONG)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def write_config(self) -> None:
        """Write the configuration file as it should be now."""
        lines = []
        for group, options in (
            ('tmpl', {**self.host.settings, **self.settings}),
            ('nova', self.nova),
        ):
            lines.append(f'[{group}]')
            for name, value in options.items():
                values = value if isinstance(value, list) else [value]
                lines += [f'{name} = {each}' for each in values]
        # Whole or not at all: a running agent may be reading it.
        new = self.config.with_suffix('.new')
        new.write_text('\n'.join(lines) + '\n')
        new.rename(self.config)

    # What it says

    def log_text(self) -> str:
        """Return what the process that runs now, or ran last, has logged."""
        with self.log.open('rb') as file:
            file.seek(self._seen)
            return file.read().decode(errors='replace')

    def log_tail(self, size: int = 4000) -> str:
        """Return the end of the log."""
        return self.log.read_bytes()[-size:].decode(errors='replace')

    def _endpoints(self) -> tuple[str, str] | None:
        found = _SERVES.search(self.log_text())
        return found and (found[1], found[2])  # type: ignore[return-value]

    @property
    def url(self) -> str:
        """The base URL of the API."""
        endpoints = self._endpoints()
        assert endpoints is not None, f'{self.name} does not serve'
        return endpoints[0]

    def ask(self, path: str) -> bytes:
        """Return the body of the answer to a GET, whatever its status."""
        handlers: list[Any] = [urllib.request.ProxyHandler({})]
        if self.url.startswith('https'):
            context = ssl.create_default_context(
                cafile=self.host.settings[_TLS[0]]
            )
            context.load_cert_chain(
                *(self.host.settings[each] for each in _TLS[1:])
            )
            handlers.append(urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(f'{self.url}{path}', timeout=LONG) as answer:
                return answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.read()

    def status(self) -> dict[str, Any]:
        """Return what ``/v1/status`` shows."""
        return json.loads(self.ask('/v1/status'))

    def metric(self, name: str) -> float:
        """Return a metric, added up over its labels."""
        return sum(
            float(line.rpartition(' ')[2])
            for line in self.ask('/metrics').decode().splitlines()
            if re.match(f'tmpl_{name}[ {{]', line)
        )

    def transfer(self) -> dict[str, Any] | None:
        """Return the first of the transfers, None if there is none."""
        return next(iter(self.status()['transfers']), None)

    def done(self) -> int:
        """Return the bytes that the first of the transfers has proved."""
        transfer = self.transfer()
        return transfer['done'] if transfer else 0

    def has_fetched(self, size: int) -> Callable[[], bool]:
        """Return a condition: a transfer is at *size* bytes or more."""
        return lambda: self.done() >= size


class Cluster:
    """Nodes with one catalog; run by this context manager.

    :param root: a directory for everything
    :param catalog_url: an SQLite file below *root* unless given
    :param authority: of the cluster, for mutual TLS
    :param settings: options of all the nodes
    """

    def __init__(
        self,
        root: pathlib.Path,
        catalog_url: str | None = None,
        authority: Authority | None = None,
        **settings: Any,
    ) -> None:
        self.root = root
        self.authority = authority
        self.catalog_url = catalog_url or f'sqlite:///{root}/catalog.sqlite'
        self.agents: list[Agent] = []
        self._settings = {
            'tmpl_store_lease': 3,
            'tmpl_store_rebuild_delay': 600,
            **settings,
        }
        self._catalog: catalog.Catalog | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for agent in self.agents:
            agent.kill()
        if kind is not None:
            for agent in self.agents:  # pytest shows it
                print(f'--- {agent.log}\n{agent.log_tail()}')
        if self._catalog is not None:
            self._catalog.close()

    def node(
        self,
        name: str,
        *locations: str,
        authority: Authority | None = None,
        machine: netns.Machine | None = None,
        nova: dict[str, Any] | None = None,
        prefix: tuple[str, ...] = (),
        **settings: Any,
    ) -> Agent:
        """Return a new node whose agent does not run.

        :param locations: as :class:`Host` takes them; default: one SSD
        :param authority: if not the cluster's
        :param machine: where the agent runs; here unless given
        :param nova: options of the group [nova]
        :param prefix: command that runs the agent
        :param settings: more options, of the store or of the agent
        """
        address = (
            machine.address if machine else f'127.0.0.{len(self.agents) + 2}'
        )
        every = {
            'tmpl_store_agent_host': address,
            'tmpl_store_api_port': 0,
            'tmpl_store_swarm_port': 0,
            **self._settings,
            **settings,
        }
        authority = authority or self.authority
        if authority is not None:
            files = authority.node(name, address, metainfo.NAME)
            every.update(
                zip(
                    _TLS, (files.ca, files.certificate, files.key), strict=True
                )
            )
        names = {option.name for option in driver.opts.STORE_OPTS}
        host = Host(
            self.root / name,
            *(locations or ('ssd:ssd:10',)),
            **{
                'tmpl_store_node': name,
                'tmpl_store_catalog': self.catalog_url,
                **{key: value for key, value in every.items() if key in names},
            },
        )
        host.catalog_url = self.catalog_url
        agent = Agent(
            host,
            {key: value for key, value in every.items() if key not in names},
            machine,
            nova,
            prefix,
        )
        self.agents.append(agent)
        return agent

    def nodes(self, *names: str, **settings: Any) -> list[Agent]:
        """Return new nodes, with their agents running."""
        agents = [self.node(name, **settings).launch() for name in names]
        return [agent.wait_until_served() for agent in agents]

    @property
    def catalog(self) -> catalog.Catalog:
        """What the cluster knows."""
        if self._catalog is None:
            self._catalog = factory.build_catalog(self.view.options)
        return self._catalog

    @property
    def view(self) -> Host:
        """All disks of all nodes, as if one host had them."""
        view = Host(self.root, **{'tmpl_store_catalog': self.catalog_url})
        view.catalog_url = self.catalog_url
        view.paths = [
            path for agent in self.agents for path in agent.host.paths
        ]
        return view

    def live(self, *agents: Agent) -> bool:
        """Tell whether the catalog has all of *agents* as live."""
        return {
            each.name for each in agents
        } <= self.catalog.nodes.live().keys()

    def holders(self, digest: str) -> list[str]:
        """Return the nodes that have a copy, says the catalog."""
        return sorted(self.catalog.nodes.with_copy(digest))

    def wait_for_holders(self, digest: str, *names: str) -> None:
        """Wait until exactly the nodes *names* have a copy."""
        assert eventually(
            lambda: self.holders(digest) == sorted(names), LONG
        ), self.holders(digest)

    def wait_until_whole(self, *, away: tuple[str, ...] = ()) -> None:
        """Wait until all is as it should be, on all disks.

        Every template is complete on all its targets, every byte of every
        copy is proved, the catalog agrees with the disks, and nothing else
        lies about.

        :param away: nodes that count as gone
        """
        assert eventually(lambda: not list(self._missing(away)), LONG), list(
            self._missing(away)
        )
        view = self.view
        assert eventually(lambda: not view.unfinished(), LONG)
        # Reads every byte; the catalog may be a moment behind the disks.
        assert eventually(lambda: not view.disagreements(), LONG), (
            view.disagreements()
        )

    def wait_until_clean(self) -> None:
        """Wait until there is no trace of any image, on any node."""
        view = self.view
        assert eventually(view.is_clean, LONG), view.disagreements()

    def _missing(self, away: tuple[str, ...]) -> Iterator[str]:
        locations = self.catalog.locations.all()
        policy = factory.build_policy(self.options.placement, locations)
        for record in self.catalog.bindings.templates():
            digest = record.template.digest
            if not record.images:
                yield f'{digest} has no images'
            complete = {
                copy.location_id
                for copy in self.catalog.copies.of(digest)
                if copy.complete
            }
            for target in policy.targets(
                record.template.position, lambda each: each.node not in away
            ):
                if target.id not in complete:
                    yield f'{digest} is not on {target.node}'

    @property
    def options(self) -> Any:
        """The options that all nodes share."""
        return self.agents[0].host.options


def records_of(url: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return the catalog's records of a kind, by their keys."""
    store = factory.build_catalog_store(url)
    try:
        return {
            entry.key: json.loads(entry.value)
            for entry in store.list(f'/tmpl/{CLUSTER}/v2/state/{kind}/')
        }
    finally:
        store.close()


def flip_bits(host: Host, digest: str) -> None:
    """Change a byte in the middle of the only copy of a host."""
    (copy,) = host.copies(digest)
    hosts.flip_byte(copy)
