# SPDX-License-Identifier: Apache-2.0
"""Records that cannot be read: they stop nobody, and are named."""

import logging
import re

import pytest

from tests import facts
from tests.unit.catalog.spoiling import BAD
from tests.unit.catalog.spoiling import KEYS
from tests.unit.catalog.spoiling import WATCHED
from tests.unit.catalog.spoiling import spoil
from tests.unit.catalog.spoiling import table_of
from tests.unit.catalog.support import STATE
from tests.unit.catalog.support import A
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog import draft


@pytest.mark.parametrize('how', BAD)
@pytest.mark.parametrize('key', KEYS)
def test_a_bad_record_stops_no_list_and_is_named(full, caplog, key, how):
    table, _ = table_of(full, key)
    before = len(table.list())
    spoil(full, key, how)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert len(table.list()) == before - 1
    assert set(full.records.bad.reasons()) == {key}
    # Said once, and fit for a terminal.
    (told,) = [each for each in caplog.records if key in each.getMessage()]
    assert told.getMessage().isprintable()
    assert len(told.getMessage()) < 600


@pytest.mark.parametrize('how', BAD)
@pytest.mark.parametrize('key', KEYS)
def test_a_single_bad_record_is_unavailable_not_absent(full, key, how):
    table, name = table_of(full, key)
    assert table.get(name) is not None
    spoil(full, key, how)
    with pytest.raises(exceptions.Unavailable, match=re.escape(key)):
        table.get(name)


@pytest.mark.parametrize('how', BAD)
@pytest.mark.parametrize('key', WATCHED)
def test_a_bad_record_stops_no_snapshot_and_is_named(full, key, how):
    before = full.snapshot()
    spoil(full, key, how)
    now = full.snapshot()
    assert set(now.bad) == {key}
    assert now.bad[key].isprintable()
    lost = {
        'templates': {A.digest} - set(now.templates),
        'locations': {X} - set(now.locations),
        'nodes': {'n'} - set(now.nodes),
        'copies': {X} - set(now.copies[A.digest]),
    }
    kind = full.records.kind(key)
    assert {each for each, names in lost.items() if names} == (
        {kind} & set(lost)
    )
    # What else there is stays as it was.
    other = facts.digest('c')
    assert now.templates[other] == before.templates[other]
    assert now.copies[other] == before.copies[other]
    assert now.locations[Y] == before.locations[Y]
    assert now.nodes['n2'] == before.nodes['n2']


@pytest.mark.parametrize('how', BAD)
@pytest.mark.parametrize('key', WATCHED)
def test_a_change_to_a_bad_record_stops_no_watch_and_is_named(full, key, how):
    known = draft.Draft(full.records)
    good = full.records.store.get(key)
    before = known.take(full.entries())
    spoil(full, key, how)
    bad = full.records.store.get(key)
    location = full.records.store.get(f'{STATE}/locations/{Y}')
    changes = [
        contract.Change(each.key, each.value, each.revision)
        for each in (bad, location)
    ]
    now = known.take(changes)
    assert set(now.bad) == {key}
    assert now.locations[Y] == before.locations[Y]
    again = known.take([contract.Change(key, good.value, bad.revision + 1)])
    assert again == before
    assert again.bad == {}
