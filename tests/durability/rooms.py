# SPDX-License-Identifier: Apache-2.0
"""What must hold after each power cut, whatever was under way."""

import dataclasses
import pathlib
from typing import Protocol

from harness import host as hosts
from harness.host import Host
from tests.durability import model
from tests.durability import recorder
from tests.durability import replay
from tmpl_glance_store import factory
from tmpl_glance_store.images import url as image_url


class Promise(Protocol):
    """What the product has said, and has to stand by."""

    def check(self, host: Host, parts: factory.Parts) -> None:
        """Raise AssertionError unless it is so."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """An upload has returned: *data* can be read as *image*."""

    image: image_url.ImageUrl
    data: bytes

    def check(self, host: Host, parts: factory.Parts) -> None:
        assert hosts.read(parts, self.image) == self.data


@dataclasses.dataclass(frozen=True)
class Held:
    """A copy of a template has been recorded in the location *path*."""

    digest: str
    path: pathlib.Path

    def check(self, host: Host, parts: factory.Parts) -> None:
        shelf = self.path / 'templates' / self.digest[:2]
        assert shelf / self.digest in host.copies(self.digest)


@dataclasses.dataclass(frozen=True)
class Gone:
    """The last copy has been removed, or condemned: it stays away."""

    digest: str

    def check(self, host: Host, parts: factory.Parts) -> None:
        assert host.copies(self.digest) == []


def record(host: Host) -> recorder.Recorder:
    """Return a recorder of what is done to a host's disks."""
    return recorder.Recorder(host.root, host.root / 'catalog.sqlite')


def examine(host: Host, seen: recorder.Recorder, besides: str = '') -> None:
    """Start the host on what each power cut leaves, and look around.

    :param besides: what has it in its name is not looked at
    """
    for instant, left in replay.after_each(seen.instants, host.root):
        try:
            _examine(host, instant, besides or '\n')
        except BaseException as exc:
            explain(exc, instant, left)
            raise


def explain(
    exc: BaseException, instant: model.Instant, left: model.Remains
) -> None:
    """Say which power cut it was."""
    exc.add_note(f'cut after: {instant.after}')
    for name, _, node in left.tree:
        exc.add_note(f'left: {name} {str(node)[:60]}')


def _examine(host: Host, instant: model.Instant, besides: str) -> None:
    torn = [
        problem
        for copy in host.copies()
        if (problem := hosts.what_is_wrong(copy)) and besides not in problem
    ]
    assert torn == []
    parts = host.parts()
    try:
        wrong = [
            problem
            for problem in host.disagreements()
            if besides not in problem
        ]
        assert wrong == []
        for promise in instant.promises:
            promise.check(host, parts)
    finally:
        parts.catalog.close()
