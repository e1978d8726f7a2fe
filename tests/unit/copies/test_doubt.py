# SPDX-License-Identifier: Apache-2.0
"""A catalog that was emptied, replaced or restored: nothing is removed."""

import pathlib
import shutil

import pytest

from harness import host as hosts
from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from tests.unit.meetings import DATA
from tests.unit.meetings import OTHER
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store.localstore import memory


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember each revision, as if a minute went by between two."""
    monkeypatch.setattr(memory, '_PAUSE', 0)


def save(parts: factory.Parts, host: Host) -> pathlib.Path:
    """Make a backup of the catalog; return where it is."""
    parts.catalog.close()
    backup = host.root / 'backup'
    shutil.copy(host.root / 'catalog.sqlite', backup)
    return backup


def restore(host: Host, backup: pathlib.Path | None) -> factory.Parts:
    """Put a backup in place, or nothing; return what a new start has."""
    for file in host.root.glob('catalog.sqlite*'):
        file.unlink()
    if backup is not None:
        shutil.copy(backup, host.root / 'catalog.sqlite')
    return host.parts()


def test_an_older_catalog_removes_nothing_until_it_is_accepted(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    parts = host.parts()
    gone, kept = add(parts, DATA), add(parts, OTHER)
    backup = save(parts, host)
    parts = host.parts()
    remove(parts, gone)
    late = add(parts, b'uploaded after the backup')
    parts = restore(host, backup)
    assert 'catalog accept' in caplog.text
    assert read(parts, kept) == OTHER
    assert len(host.copies(late.digest)) == 1
    with pytest.raises(exceptions.Unavailable, match='catalog accept'):
        remove(parts, kept)
    again = add(parts, b'a new one')
    assert read(parts, again) == b'a new one', 'it may be added to'
    parts.catalog.history.accept()
    parts = host.parts()
    remove(parts, kept)
    assert not host.copies(kept.digest)


def test_a_backup_of_the_moment_before_a_binding_takes_no_copy(
    host: Host,
) -> None:
    backup = host.root / 'backup'

    def on_step(step: str) -> None:
        if step == 'placed':
            shutil.copy(host.root / 'catalog.sqlite', backup)

    image = add(host.parts(on_step), DATA)
    restore(host, backup)
    assert len(host.copies(image.digest)) == 1


def test_an_empty_catalog_takes_no_copy_and_learns_what_there_is(
    host: Host,
) -> None:
    parts = host.parts()
    image = add(parts, DATA)
    seed = parts.catalog.history.begin().seed
    parts = restore(host, None)
    assert [path.name for path in host.copies()] == [image.digest]
    assert parts.catalog.bindings.facts(image.digest) is not None
    assert parts.catalog.history.begin().seed == seed
    # Glance uploads it anew: it is bound to the copy that is here.
    assert read(parts, add(parts, DATA, image.image_id)) == DATA
    assert len(host.copies()) == 1


def test_a_catalog_that_goes_on_is_relied_on(host: Host) -> None:
    image = add(host.parts(), DATA)
    parts = host.parts()
    assert parts.catalog.history.check() == ''
    remove(parts, image)
    assert host.is_clean()
    assert hosts.read(host.parts(), add(host.parts(), DATA)) == DATA


def test_a_catalog_that_was_set_back_becomes_no_better_by_growing(
    host: Host,
) -> None:
    parts = host.parts()
    image = add(parts, DATA)
    backup = save(parts, host)
    parts = host.parts()
    late = add(parts, OTHER)
    parts = restore(host, backup)
    for number in range(20):
        add(parts, b'one more %d' % number)
    seen = parts.catalog.history.look()
    assert seen.revision > 20, 'it is further than it was'
    for process in parts, host.parts():
        with pytest.raises(exceptions.Unavailable, match='catalog accept'):
            remove(process, image)
    assert len(host.copies(late.digest)) == 1
