# SPDX-License-Identifier: Apache-2.0
"""What the scrubber makes of a copy that is not as it should be."""

import json

import pytest

from harness import agents
from harness.host import add
from harness.host import remove
from tests.conftest import Forbid
from tests.unit.agent.scrubbing import DATA
from tests.unit.agent.scrubbing import ScrubBench
from tests.unit.agent.scrubbing import unavailable
from tmpl_glance_store import exceptions
from tmpl_glance_store import schema


def test_a_copy_that_has_rotted_goes_to_quarantine(scrubs: ScrubBench) -> None:
    digest, other = scrubs.add(), scrubs.add(DATA[1:])
    agents.flip_bits(scrubs.host, digest)
    scrubs.pass_time()
    assert scrubs.scrubber.scrub_next() and scrubs.scrubber.scrub_next()
    assert scrubs.bad == [digest]
    assert scrubs.proved == [len(DATA) - 1]
    assert scrubs.host.copies(digest) == []
    assert scrubs.catalog.copies.of(digest) == []
    assert [path.name.split('.')[0] for path in scrubs.host.quarantined()] == [
        digest
    ]
    # Its image is still bound: another node may have a good copy.
    assert scrubs.catalog.bindings.template(digest).images
    assert scrubs.proved_at(other) == scrubs.clock.now


@pytest.mark.parametrize('file', ['image', 'pieces', 'template.json'])
def test_a_copy_of_which_a_file_is_missing_goes_to_quarantine(
    scrubs: ScrubBench, file: str
) -> None:
    digest = scrubs.add()
    (copy,) = scrubs.host.copies(digest)
    (copy / file).unlink()
    scrubs.pass_time()
    assert scrubs.scrubber.scrub_next()
    assert scrubs.bad == [digest]
    assert len(scrubs.host.quarantined()) == 1
    assert not scrubs.scrubber.scrub_next()


@pytest.mark.parametrize('version', [schema.VERSION - 1, schema.VERSION + 1])
def test_a_copy_of_another_release_is_left_alone(
    scrubs: ScrubBench, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    digest = scrubs.add()
    (copy,) = scrubs.host.copies(digest)
    facts = json.loads((copy / 'template.json').read_bytes())
    (copy / 'template.json').unlink()
    (copy / 'template.json').write_text(
        json.dumps({**facts, 'version': version})
    )
    scrubs.pass_time()
    assert scrubs.scrubber.scrub_next()
    assert (scrubs.bad, scrubs.proved) == ([], [])
    assert scrubs.host.copies(digest) == [copy]
    assert f'of version {version}' in caplog.text
    (location,) = (
        each for each in scrubs.parts.store.locations if each.holds(digest)
    )
    record = scrubs.catalog.copies.of(digest)
    scrubs.parts.keeper.adopt(digest, location, *record)
    assert scrubs.host.copies(digest) == [copy]
    assert scrubs.catalog.copies.of(digest) == record
    with pytest.raises(exceptions.Unavailable, match='of version'):
        location.hold(digest, 1)


@pytest.mark.parametrize('size', [0, len(DATA) - 1, len(DATA) + 1])
def test_a_copy_of_another_size_goes_to_quarantine(
    scrubs: ScrubBench, size: int
) -> None:
    digest = scrubs.add()
    (copy,) = scrubs.host.copies(digest)
    (copy / 'image').chmod(0o600)
    with (copy / 'image').open('r+b') as file:
        file.truncate(size)
    scrubs.pass_time()
    assert scrubs.scrubber.scrub_next()
    assert scrubs.bad == [digest]


def test_a_copy_that_cannot_be_read_is_left_alone(
    scrubs: ScrubBench, forbid: Forbid
) -> None:
    digest = scrubs.add()
    (copy,) = scrubs.host.copies(digest)
    forbid(copy / 'image', 0)
    scrubs.pass_time()
    before = scrubs.proved_at(digest)
    assert scrubs.scrubber.scrub_next()
    assert scrubs.proved_at(digest) == before
    assert (scrubs.proved, scrubs.bad) == ([], [])
    assert not scrubs.scrubber.scrub_next()  # not again and again
    forbid.lift()
    scrubs.pass_time()
    assert scrubs.scrubber.scrub_next()
    assert scrubs.proved == [len(DATA)]


def test_a_copy_on_a_disk_that_is_not_mounted_is_not_forgotten(
    scrubs: ScrubBench,
) -> None:
    digest = scrubs.add()
    for path in scrubs.host.paths:
        path.rename(path.with_name(f'{path.name}.away'))
    scrubs.pass_time()
    scrubs.scrubber.scrub_next()
    assert len(scrubs.catalog.copies.of(digest)) == 1
    assert scrubs.bad == []


def test_a_template_that_goes_meanwhile_is_not_recorded_again(
    scrubs: ScrubBench,
) -> None:
    image = add(scrubs.parts, DATA)
    location = next(
        each
        for each in scrubs.parts.store.locations
        if each.holds(image.digest)
    )
    remove(scrubs.parts, image)
    scrubs.scrubber.scrub(image.digest, location)
    assert scrubs.host.is_clean()


def test_a_bad_copy_goes_to_quarantine_though_the_catalog_is_away(
    scrubs: ScrubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = scrubs.add()
    agents.flip_bits(scrubs.host, digest)
    scrubs.pass_time()
    monkeypatch.setattr(scrubs.catalog.copies, 'forget', unavailable)
    with pytest.raises(exceptions.Unavailable):
        scrubs.scrubber.scrub_next()
    assert scrubs.bad == [digest]
    assert scrubs.host.copies(digest) == []
    assert len(scrubs.host.quarantined()) == 1


def test_a_disk_that_goes_in_the_middle_says_nothing_of_its_copy(
    scrubs: ScrubBench,
) -> None:
    digest = scrubs.add()
    location = next(
        each for each in scrubs.parts.store.locations if each.holds(digest)
    )
    for path in scrubs.host.paths:
        path.rename(path.with_name(f'{path.name}.away'))
        path.mkdir()  # the mount point, empty
    assert scrubs.scrubber.scrub(digest, location)
    assert len(scrubs.catalog.copies.of(digest)) == 1
    assert scrubs.bad == []
