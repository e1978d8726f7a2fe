# SPDX-License-Identifier: Apache-2.0
"""A crash at any step, and the start after it."""

import contextlib
from collections.abc import Callable

import pytest

from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from tests.unit.meetings import DATA
from tests.unit.meetings import OTHER
from tests.unit.meetings import fail
from tests.unit.meetings import forget
from tests.unit.meetings import once
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store.catalog import bindings
from tmpl_glance_store.copies import keeping
from tmpl_glance_store.images import removal
from tmpl_glance_store.images import upload
from tmpl_glance_store.localstore import staging


@pytest.mark.parametrize('step', upload.ADD_STEPS)
def test_a_crash_at_any_step_of_an_upload_is_cleaned_up(
    host: Host, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = add(host.parts(), OTHER)
    crash(host, monkeypatch, step, lambda parts: add(parts, DATA, 'image-1'))
    parts = host.parts()
    assert host.disagreements() == []
    assert read(parts, kept) == OTHER
    assert len(host.copies()) == (2 if step == 'bound' else 1)
    # Glance knows nothing of it, and uploads it again.
    assert read(parts, add(parts, DATA, 'image-1')) == DATA
    assert host.disagreements() == []


@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_a_crash_at_any_step_of_a_removal_is_made_good(
    host: Host, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(host.parts(), DATA)
    crash(host, monkeypatch, step, lambda parts: remove(parts, image))
    host.parts()
    assert host.is_clean()


@pytest.mark.parametrize('step', removal.REMOVE_STEPS)
def test_a_crash_in_a_removal_does_not_hurt_the_next_upload(
    host: Host, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(host.parts(), DATA)
    survivor = host.parts()
    crash(host, monkeypatch, step, lambda parts: remove(parts, image))
    again = add(survivor, DATA)
    assert read(host.parts(), again) == DATA
    assert host.disagreements() == []


class Crash(BaseException):
    """The end of the process."""


def crash(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    act: Callable[[factory.Parts], object],
) -> None:
    """Let *act* come as far as *step*, with no cleaning up afterwards.

    tests/functional/test_crash.py does the same with a real SIGKILL.
    """
    with monkeypatch.context() as patch:

        def stop() -> None:
            patch.setattr(staging, 'erase', lambda path: None)
            patch.setattr(keeping.Keeper, '_decide', fail(Crash()))
            patch.setattr(bindings.Bindings, 'unbind', fail(Crash()))
            raise Crash

        with pytest.raises(Crash):
            act(host.parts(once(step, stop)))


def test_an_intent_without_a_copy_is_dropped(host: Host) -> None:
    parts = host.parts()
    location, *_ = parts.catalog.locations.all()
    parts.catalog.copies.intend('ab' * 32, location.id)
    host.parts()
    assert host.is_clean()


def test_the_intent_of_another_does_not_hurt_a_bound_copy(host: Host) -> None:
    parts = host.parts()
    image = add(parts, DATA)
    ((_, copy),) = host.records('copies').items()
    parts.catalog.copies.intend(image.digest, copy['location_id'])
    assert read(host.parts(), image) == DATA
    assert host.disagreements() == []


@pytest.mark.parametrize(
    'call',
    [
        'locations.put',
        'copies.in_location',
        'copies.adopt',
        'bindings.template',
    ],
)
def test_a_start_that_the_catalog_broke_off_is_made_good(
    host: Host, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    image = add(host.parts(), DATA)
    debris = [path / 'incoming' / 'debris' for path in host.paths]
    for path in debris:
        path.mkdir()
    for kind in ('locations', 'copies'):
        for key in host.records(kind):
            forget(host, f'{kind}/{key}')
    parts = factory.Parts(host.options)
    room, _, name = call.partition('.')
    monkeypatch.setattr(
        getattr(parts.catalog, room),
        name,
        fail(exceptions.Unavailable('unreachable')),
    )
    with contextlib.suppress(exceptions.Unavailable):
        parts.images.open()
    monkeypatch.undo()
    parts.images.open()
    assert host.disagreements() == []
    assert len(host.records('locations')) == len(host.paths)
    assert read(parts, image) == DATA
