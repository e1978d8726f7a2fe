# SPDX-License-Identifier: Apache-2.0
"""Whoever meets whom.

The other one is another process, with its own parts, and comes at every
step.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from tests.unit.meetings import DATA
from tests.unit.meetings import once
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.images import removal
from tmpl_glance_store.images import upload


class Meanwhile:
    """What another process does in the middle of ours.

    It may have to wait until we let go of a lock.
    """

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self._outcome: list[Any] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __call__(self) -> None:
        self._thread.start()
        self._thread.join(0.3)

    def result(self) -> Any:
        """Wait for the end; return what came of it."""
        self._thread.join(30)
        (outcome,) = self._outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _run(self) -> None:
        try:
            self._outcome.append(self._act())
        except Exception as exc:
            self._outcome.append(exc)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for a lock that nobody will ever release."""
    monkeypatch.setattr(keeping, '_LOCK_WAIT', 0.5)


@pytest.mark.parametrize('step', upload.ADD_STEPS)
def test_another_upload_of_the_content_may_come_at_any_step(
    host: Host, step: str
) -> None:
    other = host.parts()
    coming = Meanwhile(lambda: add(other, DATA))
    images = [add(host.parts(once(step, coming)), DATA), coming.result()]
    assert [read(other, image) for image in images] == [DATA, DATA]
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', ['staged', 'hashed', 'bound'])
def test_the_only_other_image_may_go_at_any_step_of_an_upload(
    host: Host, step: str
) -> None:
    other = host.parts()
    gone = add(other, DATA)
    going = Meanwhile(lambda: remove(other, gone))
    image = add(host.parts(once(step, going)), DATA)
    going.result()
    assert read(other, image) == DATA
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_an_upload_of_the_content_may_come_at_any_step_of_a_removal(
    host: Host, step: str
) -> None:
    other = host.parts()
    coming = Meanwhile(lambda: add(other, DATA))
    parts = host.parts(once(step, coming))
    remove(parts, add(parts, DATA))
    assert read(parts, coming.result()) == DATA
    assert len(host.copies()) == 1
    assert host.disagreements() == []


@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_nothing_stays_locked_after_a_removal_that_met_an_upload(
    host: Host, impatient: None, step: str
) -> None:
    other = host.parts()
    coming = Meanwhile(lambda: add(other, DATA))
    parts = host.parts(once(step, coming))
    remove(parts, add(parts, DATA))
    for image in (coming.result(), add(parts, DATA)):
        remove(parts, image)
    assert host.is_clean()


@pytest.mark.parametrize('step', [*upload.ADD_STEPS, *removal.REMOVE_STEPS])
def test_another_process_may_start_at_any_step(host: Host, step: str) -> None:
    starting = Meanwhile(host.parts)
    parts = host.parts(once(step, starting))
    image = add(parts, DATA)
    assert read(parts, image) == DATA
    assert host.disagreements() == []
    remove(parts, image)
    starting.result()
    assert host.is_clean()
