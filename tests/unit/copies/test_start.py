# SPDX-License-Identifier: Apache-2.0
"""A start: disk and catalog brought into agreement."""

import os

import pytest

from harness.host import Host
from harness.host import add
from harness.host import read
from tests.unit.meetings import DATA
from tests.unit.meetings import OTHER
from tests.unit.meetings import forget
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil


def test_a_start_with_nothing_to_do_changes_nothing(host: Host) -> None:
    image = add(host.parts(), DATA)
    before = {
        kind: host.records(kind)
        for kind in ('images', 'templates', 'locations')
    }
    parts = host.parts()
    assert read(parts, image) == DATA
    assert {kind: host.records(kind) for kind in before} == before
    assert host.disagreements() == []


def test_copies_that_the_catalog_lost_are_adopted(host: Host) -> None:
    image = add(host.parts(), DATA)
    for file in host.root.glob('catalog.sqlite*'):
        file.unlink()
    parts = host.parts()
    assert host.disagreements() == []
    record = parts.catalog.bindings.template(image.digest)
    assert record is not None
    assert record.images == ()
    with pytest.raises(exceptions.NotFound):
        read(parts, image)
    # The content is known again: the next upload of it stores nothing.
    (copy,) = host.copies()
    before = copy.stat()
    assert read(parts, add(parts, DATA)) == DATA
    assert os.path.samestat(copy.stat(), before)


@pytest.mark.parametrize('kind', ['templates', 'copies'])
def test_a_record_that_the_catalog_lost_is_made_anew(
    host: Host, kind: str
) -> None:
    image = add(host.parts(), DATA)
    (key,) = host.records(kind)
    forget(host, f'{kind}/{key}')
    parts = host.parts()
    assert read(parts, image) == DATA
    assert [*host.records('templates')] == [image.digest]
    (copy,) = host.records('copies').values()
    assert copy['complete']


def test_a_record_of_a_copy_that_is_gone_is_dropped(host: Host) -> None:
    parts = host.parts()
    image, kept = add(parts, DATA), add(parts, OTHER)
    (copy,) = host.copies(image.digest)
    copy.rename(host.root / 'gone')
    parts = host.parts()
    assert [key.rpartition('/')[2] for key in host.records('copies')] == [
        kept.digest
    ]
    # The image is still known: this is a loss, not a removal.
    with pytest.raises(exceptions.Unavailable):
        read(parts, image)
    assert read(parts, kept) == OTHER
    # What was lost can be uploaded anew, and then is back.
    add(parts, DATA)
    assert read(parts, image) == DATA


def test_an_intended_copy_is_not_adopted(host: Host) -> None:
    parts = host.parts()
    image = add(parts, DATA)
    ((key, copy),) = host.records('copies').items()
    forget(host, f'images/{image.image_id}')
    forget(host, f'state/templates/{image.digest}')
    forget(host, f'state/heads/{image.digest}')
    forget(host, f'state/claims/{image.digest}/{image.image_id}')
    forget(host, f'state/copies/{key}')
    parts.catalog.copies.intend(image.digest, copy['location_id'])
    host.parts()
    assert host.is_clean()


def test_entries_that_are_no_copies_are_quarantined(host: Host) -> None:
    parts = host.parts()
    image = add(parts, DATA)
    (copy,) = host.copies()
    # A copy under another name, and a directory that never was one.
    misnamed = copy.parent / ('f' * 64)
    misnamed.mkdir()
    for file in copy.iterdir():
        os.link(file, misnamed / file.name)
    (copy.parents[1] / 'zz' / 'else').mkdir(parents=True)
    (copy.parent / 'a-file').touch()
    parts = host.parts()
    assert sorted(path.name.split('.')[0] for path in host.quarantined()) == [
        'else',
        'f' * 64,
    ]
    assert read(parts, image) == DATA
    assert [path for path in host.copies() if path.is_dir()] == [copy]


def test_a_damaged_copy_is_quarantined_and_its_record_dropped(
    host: Host,
) -> None:
    parts = host.parts()
    image, kept = add(parts, DATA), add(parts, OTHER)
    (copy,) = host.copies(image.digest)
    (copy / 'template.json').unlink()
    (copy / 'template.json').write_text('{}')
    parts = host.parts()
    assert len(host.quarantined()) == 1
    assert [key.rpartition('/')[2] for key in host.records('copies')] == [
        kept.digest
    ]
    with pytest.raises(exceptions.Unavailable):
        read(parts, image)
    assert read(parts, kept) == OTHER


def test_a_start_does_not_touch_what_another_process_works_on(
    host: Host,
) -> None:
    parts = host.parts()
    template = add(parts, DATA)
    (copy,) = host.copies()
    with fsutil.lock_directory(str(copy)) as _:  # type: ignore[union-attr]
        (copy / 'template.json').rename(copy / 'elsewhere')
        host.parts()
        assert copy.exists()
        (copy / 'elsewhere').rename(copy / 'template.json')
    assert read(parts, template) == DATA
