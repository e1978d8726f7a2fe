# SPDX-License-Identifier: Apache-2.0
"""What to do about one base file, as a table: facts in, a value out."""

import dataclasses

import pytest

from tests.unit.imagecache.parts import DIGEST
from tests.unit.imagecache.parts import NAME
from tmpl_glance_store.imagecache import decision
from tmpl_glance_store.imagecache import entries
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache import states
from tmpl_glance_store.imagecache.decision import Leave
from tmpl_glance_store.imagecache.decision import Make
from tmpl_glance_store.imagecache.decision import Place
from tmpl_glance_store.imagecache.decision import Redirect
from tmpl_glance_store.imagecache.decision import Touch
from tmpl_glance_store.imagecache.facts import Facts
from tmpl_glance_store.imagecache.states import Verdict

RAW, OTHER = 'b' * 64, 'c' * 64
NOW, INTERVAL = 10_000.0, 3600.0

ENTRY = entries.Entry(
    name=NAME,
    image_id='image',
    digest=DIGEST,
    content=DIGEST,
    size=1,
    mode=linking.REFLINK,
    inode=1,
    made_at=1.0,
    directory='/nova/_base',
    mount='/',
)
WANTED = decision.Wanted(DIGEST, 'qcow2', {DIGEST, RAW})
RULES = decision.Rules(touch_interval=INTERVAL)

NOTHING = Facts()
NOVAS = Facts(taken=True, there=True)
OURS = Facts(taken=True, there=True, ours=True, touched_at=NOW - 1)
OLD = dataclasses.replace(OURS, touched_at=NOW - INTERVAL)
DANGLING = Facts(taken=True)
OURS_DANGLING = Facts(taken=True, ours=True, leads_to=DIGEST)
FORGOTTEN = Facts(taken=True, there=True, leads_to=DIGEST)

FAILED, FOREIGN = states.FAILED, states.FOREIGN
PUBLISHED, DAMAGED, STALE = states.PUBLISHED, states.DAMAGED, states.STALE


def decide(
    facts, entry=None, wanted=WANTED, rules=None, problem=None, **fields
):
    return decision.decide(
        facts,
        dataclasses.replace(entry, **fields) if entry else None,
        wanted,
        dataclasses.replace(RULES, **(rules or {})),
        NOW,
        problem,
    )


@pytest.mark.parametrize(
    ('facts', 'entry'),
    [
        (NOTHING, None),
        (NOTHING, ENTRY),  # Nova has removed it
        (OURS_DANGLING, ENTRY),  # what it led to is gone
        (OURS_DANGLING, None),
        (FORGOTTEN, None),  # its ledger is gone
        (dataclasses.replace(FORGOTTEN, leads_to=RAW), None),
        (Facts(taken=True, leads_to=OTHER), None),
    ],
)
def test_what_is_missing_is_made_and_what_is_ours_is_led_anew(facts, entry):
    assert decide(facts, entry) == Make()
    assert decide(facts, entry, problem='no disk') == Leave(
        Verdict(FAILED, 'no disk')
    )


@pytest.mark.parametrize('problem', [None, 'no disk'])
@pytest.mark.parametrize('entry', [None, ENTRY])
@pytest.mark.parametrize(
    ('facts', 'reason'),
    [
        (NOVAS, 'Nova has made'),
        (DANGLING, 'leads nowhere'),
        (dataclasses.replace(FORGOTTEN, leads_to=OTHER), 'Nova has made'),
    ],
)
def test_what_is_not_ours_is_never_replaced(facts, entry, problem, reason):
    todo = decide(facts, entry, problem=problem)
    assert isinstance(todo, Leave)
    assert todo.verdict.state == FOREIGN
    assert reason in todo.verdict.reason


@pytest.mark.parametrize('problem', [None, 'no disk'])
def test_what_is_ours_is_touched_in_time(problem):
    assert decide(OURS, ENTRY, problem=problem) == Leave(Verdict(PUBLISHED))
    assert decide(OLD, ENTRY, problem=problem) == Touch(Verdict(PUBLISHED))


@pytest.mark.parametrize(
    ('fields', 'rules', 'state', 'reason'),
    [
        ({'digest': OTHER}, {}, STALE, 'had before'),
        ({'damaged': True}, {}, DAMAGED, 'not those of its digest'),
        (
            {'mode': linking.HARDLINK},
            {'complete_clones': True},
            FAILED,
            'made as a hardlink',
        ),
        (
            {'mode': linking.SYMLINK, 'damaged': True},
            {'complete_clones': True},
            FAILED,
            'made as a symlink',
        ),
    ],
)
def test_what_should_not_be_booted_is_not_touched_so_it_ages_out(
    fields, rules, state, reason
):
    todo = decide(OLD, ENTRY, rules=rules, **fields)
    assert isinstance(todo, Leave)
    assert todo.verdict.state == state
    assert reason in todo.verdict.reason


@pytest.mark.parametrize('mode', [linking.REFLINK, linking.COPY])
def test_copies_serve_complete_clones(mode):
    rules = {'complete_clones': True}
    assert decide(OURS, ENTRY, rules=rules, mode=mode) == Leave(
        Verdict(PUBLISHED)
    )


@pytest.mark.parametrize(
    ('force_raw', 'image_format', 'converted', 'as_asked'),
    [
        (True, 'qcow2', True, True),
        (True, 'qcow2', False, False),
        (False, 'qcow2', True, False),
        (False, 'qcow2', False, True),
        (True, 'raw', False, True),
        (True, 'iso', False, True),
        (True, 'raw', True, False),
        (True, None, False, True),
    ],
)
def test_a_base_file_of_another_form_is_kept_and_says_so(
    force_raw, image_format, converted, as_asked
):
    todo = decide(
        OLD,
        ENTRY,
        wanted=dataclasses.replace(WANTED, format=image_format),
        rules={'force_raw': force_raw},
        converted=converted,
    )
    assert isinstance(todo, Touch)
    assert todo.verdict.state == PUBLISHED
    assert todo.verdict.reason == (
        ''
        if as_asked
        else 'made before force_raw was changed; a base file is never replaced'
    )


@pytest.mark.parametrize(
    ('facts', 'step'),
    [
        (NOTHING, Place()),
        (OURS_DANGLING, Redirect()),
        (FORGOTTEN, Redirect()),
        (Facts(taken=True, leads_to=OTHER), Redirect()),
        (
            dataclasses.replace(FORGOTTEN, leads_to=OTHER),
            Leave(decision.FOREIGN),
        ),
        (NOVAS, Leave(decision.FOREIGN)),  # Nova was faster
        (DANGLING, Leave(decision.FOREIGN)),
    ],
)
def test_under_the_lock_it_is_looked_at_again(facts, step):
    assert decision.enter(facts, DIGEST) == step
