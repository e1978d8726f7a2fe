# SPDX-License-Identifier: Apache-2.0
"""What a pass has come to."""

import pytest

from tmpl_glance_store.imagecache import states
from tmpl_glance_store.imagecache.outcome import Outcome
from tmpl_glance_store.imagecache.states import State


def seen(*images):
    """Return the states of (image, digest, state, reason) by image."""
    return {each[0]: State(*each) for each in images}


def test_the_images_of_a_template_are_published_together():
    outcome = Outcome.of(
        seen(
            ('b', 't1', states.PUBLISHED),
            ('a', 't1', states.PUBLISHED),
            ('c', 't1', states.FOREIGN),
            ('d', 't2', states.REFUSED, 'a bomb'),
        )
    )
    assert outcome.published == {'t1': ('a', 'b')}
    assert outcome.refusals == {'t2': 'a bomb'}


@pytest.mark.parametrize(
    ('images', 'converted', 'spare'),
    [
        ([('a', states.PUBLISHED)], {'a'}, {'t'}),
        ([('a', states.PUBLISHED)], set(), set()),
        ([('a', states.LEFT)], {'a'}, set()),
        ([('a', states.PUBLISHED), ('b', states.PUBLISHED)], {'a'}, set()),
        ([('a', states.PUBLISHED), ('b', states.WAITING)], {'a', 'b'}, set()),
        ([('a', states.PUBLISHED), ('b', states.PUBLISHED)], {'a', 'b'}, 't'),
        ([], {'a'}, set()),
    ],
)
def test_an_original_is_spare_if_all_its_images_are_conversions(
    images, converted, spare
):
    outcome = Outcome.of(
        seen(*((image, 't', state) for image, state in images)), converted
    )
    assert outcome.spare == set(spare)


@pytest.mark.parametrize(
    ('state', 'retry', 'expected'),
    [
        (states.PUBLISHED, None, None),
        (states.PUBLISHED, 7.0, 7.0),
        (states.WAITING, 7.0, 2),
        (states.FAILED, None, 60),
        (states.FAILED, 7.0, 7.0),
        (states.REFUSED, None, None),
    ],
)
def test_time_alone_changes_what_waits_or_failed(state, retry, expected):
    outcome = Outcome.of(seen(('a', 't', state)), retry=retry)
    assert outcome.next_change == expected


def test_before_the_first_pass_there_is_nothing():
    assert Outcome() == Outcome.of({})
