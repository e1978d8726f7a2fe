# SPDX-License-Identifier: Apache-2.0
"""What a node tells the cluster of its disks."""

import pytest

from harness.host import Host
from harness.host import add
from tmpl_glance_store import factory
from tmpl_glance_store import objects
from tmpl_glance_store.agent import places


@pytest.fixture
def here(host: Host) -> factory.Parts:
    return host.parts()


def tell(here: factory.Parts) -> dict[str, objects.Location]:
    """Let the node tell what its disks are like; return what is recorded."""
    places.Places(node='node1', catalog=here.catalog, store=here.store).tell(
        here.catalog.snapshot()
    )
    return {each.path: each for each in here.catalog.locations.all()}


def test_disks_that_are_well_cost_no_write(here: factory.Parts) -> None:
    tell(here)
    before = here.catalog.records.store.moment('x')
    assert {each.health for each in tell(here).values()} == {objects.WELL}
    assert here.catalog.records.store.moment('x') == before


def test_a_disk_that_goes_and_comes_back_is_told(
    host: Host, here: factory.Parts, caplog: pytest.LogCaptureFixture
) -> None:
    disk = host.paths[0]
    image = add(here, b'x' * 1000)
    disk.rename(disk.with_name('away'))
    gone = tell(here)[str(disk)]
    assert gone.health == objects.MISSING
    assert 'mounted' in gone.reason
    assert f'Location {disk} is missing now, and was well' in caplog.text
    live = here.catalog.snapshot().live(image.digest)
    assert gone.id not in live
    disk.with_name('away').rename(disk)
    assert tell(here)[str(disk)].health == objects.WELL


def test_a_disk_that_was_refused_is_told_with_the_reason(
    host: Host, here: factory.Parts
) -> None:
    disk = host.paths[0]
    tell(here)
    disk.rename(disk.with_name('away'))
    restarted = factory.Parts(host.options)
    restarted.start.open()
    refused = tell(restarted)[str(disk)]
    assert refused.health == objects.REFUSED
    assert 'marker file' in refused.reason


def test_a_location_that_nobody_names_any_more_is_told(
    host: Host, here: factory.Parts
) -> None:
    host.settings['tmpl_store_locations'] = host.settings[
        'tmpl_store_locations'
    ][1:]
    known = tell(host.parts())[str(host.paths[0])]
    assert known.health == objects.REFUSED
    assert 'tmpl_store_locations' in known.reason


def test_what_the_operator_wants_stays(here: factory.Parts) -> None:
    other = objects.Location('n2/x', 'n2', 'ssd', '/x', 1.0)
    here.catalog.locations.put(other)
    here.catalog.locations.drain('node1')
    told = tell(here)
    assert told.pop('/x') == other
    assert {each.state for each in told.values()} == {objects.DRAINING}


def test_a_location_that_the_catalog_has_lost_is_recorded_anew(
    here: factory.Parts, caplog: pytest.LogCaptureFixture
) -> None:
    before = tell(here)
    for each in before.values():
        here.catalog.locations.forget(each.id)
    assert tell(here).keys() == before.keys()
    assert 'has lost location' in caplog.text
