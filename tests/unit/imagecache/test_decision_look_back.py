# SPDX-License-Identifier: Apache-2.0
"""What to do about a base file at the end of a pass, as a table."""

import dataclasses

import pytest

from tests.unit.imagecache.parts import DIGEST
from tests.unit.imagecache.test_decision import ENTRY
from tests.unit.imagecache.test_decision import NOTHING
from tests.unit.imagecache.test_decision import NOVAS
from tests.unit.imagecache.test_decision import NOW
from tests.unit.imagecache.test_decision import OLD
from tests.unit.imagecache.test_decision import OTHER
from tests.unit.imagecache.test_decision import OURS
from tests.unit.imagecache.test_decision import OURS_DANGLING
from tests.unit.imagecache.test_decision import RULES
from tmpl_glance_store.imagecache import decision
from tmpl_glance_store.imagecache import states
from tmpl_glance_store.imagecache.states import Verdict

CONVERTED = dataclasses.replace(ENTRY, converted=True)
CACHE = dataclasses.replace(RULES, keep_original=False)


def look_back(facts, entry=ENTRY, state=None, digest=None, rules=RULES):
    return decision.look_back(
        facts,
        entry,
        None if state is None else Verdict(state),
        digest,
        rules,
        NOW,
    )


@pytest.mark.parametrize('facts', [NOTHING, NOVAS])
@pytest.mark.parametrize('state', [None, *states.STATES])
def test_what_is_gone_is_forgotten_unless_it_could_not_be_made_anew(
    facts, state
):
    expected = None if state == states.FAILED else decision.Forget()
    assert look_back(facts, state=state) == expected


@pytest.mark.parametrize('state', states.STATES)
def test_what_the_pass_has_settled_is_not_looked_at_again(state):
    assert look_back(OLD, state=state) is None


@pytest.mark.parametrize('entry', [ENTRY, CONVERTED])
@pytest.mark.parametrize('digest', [None, OTHER, DIGEST])
def test_what_outlives_its_copy_ages_out(entry, digest):
    todo = look_back(OLD, entry=entry, digest=digest)
    assert isinstance(todo, decision.Leave)
    assert todo.verdict.state == states.LEFT
    assert todo.verdict.reason == 'Nova removes it when no instance needs it'


@pytest.mark.parametrize(
    ('facts', 'kind'),
    [
        (OLD, decision.Touch),
        (OURS, decision.Leave),
        (OURS_DANGLING, decision.Leave),  # there is nothing to touch
    ],
)
def test_what_stands_for_its_original_is_looked_after(facts, kind):
    todo = look_back(facts, entry=CONVERTED, digest=DIGEST, rules=CACHE)
    assert isinstance(todo, kind)
    assert todo.verdict.state == states.LEFT
    assert todo.verdict.reason == 'the original went because this is here'


@pytest.mark.parametrize(
    ('entry', 'digest'),
    [(ENTRY, DIGEST), (CONVERTED, OTHER), (CONVERTED, None)],
)
def test_only_a_conversion_of_what_the_image_is_stands_for_it(entry, digest):
    todo = look_back(OLD, entry=entry, digest=digest, rules=CACHE)
    assert isinstance(todo, decision.Leave)


def test_damage_is_told_to_the_end():
    damaged = dataclasses.replace(ENTRY, damaged=True)
    todo = look_back(OURS, entry=damaged)
    assert todo.verdict.state == states.DAMAGED
