# SPDX-License-Identifier: Apache-2.0
"""A node under test: real disks and catalog, a swarm that is told."""

import dataclasses
import functools
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterable

from harness import host as hosts
from harness.host import Host
from tests.unit.agent.virtual import Clock
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import objects
from tmpl_glance_store.agent import absences
from tmpl_glance_store.agent import act
from tmpl_glance_store.agent import base_files
from tmpl_glance_store.agent import fetching
from tmpl_glance_store.agent import places
from tmpl_glance_store.agent import plan
from tmpl_glance_store.agent import reconciler
from tmpl_glance_store.agent import report
from tmpl_glance_store.agent import seeding
from tmpl_glance_store.agent import transfers
from tmpl_glance_store.catalog import view
from tmpl_glance_store.swarm import progress

DATA = hosts.content(300_000)
DELAY = 100.0
LONG = 30


class FakeSwarm:
    """Delivers what the source has, as soon as it is allowed to."""

    def __init__(self, source: Host) -> None:
        self.source = source
        self.delivers = True
        self.fetched: list[str] = []
        self.seeded: set[str] = set()
        self.peers: dict[str, set[object]] = {}
        self.began = threading.Event()
        self.error: exceptions.TmplError | None = None
        self.before_end: Callable[[], object] = lambda: None

    def fetch(
        self, template: objects.Template, pieces: bytes, directory: str
    ) -> None:
        """Deliver the bytes at once."""
        self.fetched.append(template.digest)
        (copy,) = self.source.copies(template.digest)
        shutil.copy(copy / 'image', pathlib.Path(directory) / 'image')
        self.began.set()

    def progress(self, digest: str) -> progress.Progress:
        """Tell that all is there, or nothing."""
        if not self.delivers:
            return progress.Progress(progress.FETCHING, 0, 1)
        self.before_end()
        if self.error is not None:
            return progress.Progress(progress.FAILED, 0, 1, error=self.error)
        return progress.Progress(progress.COMPLETE, 1, 1)

    def seed(
        self, template: objects.Template, pieces: bytes, directory: str
    ) -> None:
        """Take note of it."""
        assert (pathlib.Path(directory) / 'image').exists()
        self.seeded.add(template.digest)

    def connect(self, digest: str, peers: Iterable[object]) -> None:
        """Take note of it."""
        self.peers.setdefault(digest, set()).update(peers)

    def stop(self, digest: str) -> None:
        """Take note of it."""
        self.seeded.discard(digest)


class FakeRemote:
    """Gives the piece layers that the source has."""

    def __init__(self, source: Host) -> None:
        self._source = source

    def pieces(self, template: objects.Template, urls: list[str]) -> bytes:
        """Return the piece layer."""
        assert urls
        (copy,) = self._source.copies(template.digest)
        return (copy / 'pieces').read_bytes()


@dataclasses.dataclass
class Bench:
    """Node ``n1``, which is a source, and node ``n2``, which is tested."""

    source: Host
    host: Host

    def __post_init__(self) -> None:
        self.there = self.source.parts()
        self.here = self.host.parts()
        self.swarm = FakeSwarm(self.source)
        self.clock = Clock()
        self.view = view.View(self.here.catalog)
        self.transfers = transfers.Transfers(
            keeper=self.here.keeper,
            swarm=self.swarm,
            remote=FakeRemote(self.source),
            limit=2,
            ended=lambda: None,
            clock=self.clock,
        )
        self.fetching = fetching.Fetching(
            node='n2', store=self.here.store, transfers=self.transfers
        )
        self.seeding = seeding.Seeding(
            node='n2',
            store=self.here.store,
            swarm=self.swarm,
            transfers=self.transfers,
        )
        self.absences = absences.Absences(
            node='n2', delay=DELAY, clock=self.clock
        )
        self.reconciler = self._reconciler()
        self.report = report.Report(
            node='n2',
            release='1',
            problem=lambda: None,
            store=self.here.store,
            transfers=self.transfers,
            fetching=self.fetching,
            seeding=self.seeding,
        )
        self.announce('n1')

    def _reconciler(self) -> reconciler.Reconciler:
        return reconciler.Reconciler(
            node='n2',
            view=self.view,
            store=self.here.store,
            open_locations=self.here.start.open,
            policy=self.here.policy,
            everywhere=functools.partial(
                factory.build_policy,
                self.host.options.placement.everywhere(),
            ),
            absences=self.absences,
            transfers=self.transfers,
            fetching=self.fetching,
            actor=act.Actor(
                store=self.here.store,
                keeper=self.here.keeper,
                fetching=self.fetching,
                seeding=self.seeding,
            ),
            base_files=base_files.Step(),
            places=places.Places(
                node=self.host.options.node,
                catalog=self.here.catalog,
                store=self.here.store,
            ),
        )

    def announce(self, name: str, *fetching: str, instance: str = '') -> int:
        """Let a node live; return its lease."""
        lease = self.here.catalog.nodes.grant(600)
        self.here.catalog.nodes.announce(
            objects.Node(
                name,
                f'http://{name}',
                f'127.0.0.1:{len(name)}',
                '1',
                fetching,
                instance=instance,
            ),
            lease,
        )
        return lease

    def run(self) -> plan.Plan:
        """Make a pass, and wait for the fetches that it begins."""
        todo = self.reconciler.run(refresh=True)
        if self.swarm.delivers:
            for running in list(self.transfers._running.values()):
                running.join(LONG)
        return todo

    def states(self) -> list[str]:
        """Return the states of the copies, as the status shows them."""
        return [each.state for each in self.report.status().copies]

    def recorded(self, digest: str) -> list[objects.Copy]:
        """Return the records of a template's copies."""
        return self.here.catalog.copies.of(digest)

    def holders(self, digest: str) -> set[str]:
        """Return the nodes that have a copy."""
        return self.here.catalog.nodes.with_copy(digest)
