# SPDX-License-Identifier: Apache-2.0
"""A removal that a disk hinders."""

import pytest

from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from tests.conftest import Forbid
from tests.unit.meetings import DATA
from tests.unit.meetings import fail
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store.localstore import location as local


def test_a_removal_that_is_denied_changes_nothing(
    host: Host, parts: factory.Parts, forbid: Forbid
) -> None:
    image = add(parts, DATA)
    (copy,) = host.copies()
    forbid(copy.parents[2] / 'incoming')
    with pytest.raises(exceptions.WriteDenied):
        remove(parts, image)
    forbid.lift()
    assert read(parts, image) == DATA
    assert host.disagreements() == []


def test_a_removal_that_the_shelf_denies_changes_nothing(
    host: Host, parts: factory.Parts, forbid: Forbid
) -> None:
    image = add(parts, DATA)
    (copy,) = host.copies()
    forbid(copy.parent)
    with pytest.raises(exceptions.WriteDenied):
        remove(parts, image)
    forbid.lift()
    assert read(parts, image) == DATA
    assert host.disagreements() == []


def test_a_removal_needs_no_room(
    host: Host, parts: factory.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = add(parts, DATA)
    monkeypatch.setattr(
        local.LocalLocation, 'probe', fail(exceptions.NoSpace('full'))
    )
    remove(parts, image)
    assert host.is_clean()


def test_a_removal_is_remembered_while_the_disk_is_away(
    host: Host, parts: factory.Parts
) -> None:
    image = add(parts, DATA)
    (copy,) = host.copies()
    disk = copy.parents[2]
    disk.rename(host.root / 'away')
    disk.mkdir()
    with pytest.raises(exceptions.Unavailable):
        read(parts, image)
    remove(parts, image)
    with pytest.raises(exceptions.NotFound):
        read(parts, image)
    disk.rmdir()
    (host.root / 'away').rename(disk)
    host.parts()
    assert host.is_clean()
