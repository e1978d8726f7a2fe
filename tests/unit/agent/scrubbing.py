# SPDX-License-Identifier: Apache-2.0
"""A scrubber under test, on real copies and a catalog whose time is ours."""

import dataclasses

from harness import host as hosts
from harness.host import Host
from harness.host import add
from tests.unit.agent.virtual import Clock
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store.agent import scrubber
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog import view

DATA = hosts.content(3_000_000)
PERIOD = 1000.0


@dataclasses.dataclass
class ScrubBench:
    """A scrubber, and what it has told."""

    host: Host
    parts: factory.Parts
    clock: Clock = dataclasses.field(default_factory=lambda: Clock(1e9))
    proved: list[int] = dataclasses.field(default_factory=list)
    bad: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        # The same catalog, but with our clock.
        self.parts.catalog.copies._clock = self.clock
        self.parts.catalog.bindings._clock = self.clock
        self.view = view.View(self.parts.catalog)
        self.scrubber = scrubber.Scrubber(
            catalog=self.parts.catalog,
            keeper=self.parts.keeper,
            store=self.parts.store,
            copies=lambda: self.view.update().copies,
            rate=1 << 40,
            period=PERIOD,
            on_proved=self.proved.append,
            on_bad=self.bad.append,
            clock=self.clock,
        )

    @property
    def catalog(self) -> catalog_domain.Catalog:
        """The catalog."""
        return self.parts.catalog

    def add(self, data: bytes = DATA) -> str:
        """Upload *data*; return its digest."""
        return add(self.parts, data).digest

    def proved_at(self, digest: str) -> float | None:
        """Return when the only copy of a template was proved last."""
        (copy,) = self.catalog.copies.of(digest)
        return copy.verified_at

    def pass_time(self, seconds: float = PERIOD) -> None:
        """Let time pass."""
        self.clock.now += seconds


def unavailable(*_: object) -> None:
    """Be a catalog that is away."""
    raise exceptions.Unavailable('the catalog is away')
