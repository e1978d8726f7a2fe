# SPDX-License-Identifier: Apache-2.0
"""Which URLs are good."""

import dataclasses

import pytest

from harness.host import Host
from harness.host import add
from harness.host import read
from harness.host import remove
from tests.unit.meetings import DATA
from tests.unit.meetings import fail_if_read
from tests.unit.meetings import forget
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory


def test_two_spellings_of_an_id_are_one_image(
    host: Host, parts: factory.Parts
) -> None:
    image = add(parts, DATA, 'ABCDEF-1')
    with pytest.raises(exceptions.Duplicate):
        parts.images.add('abcdef-1', fail_if_read(), 0, 'sha256')
    assert image.image_id == 'abcdef-1'
    assert read(parts, image) == DATA
    assert host.disagreements() == []
    remove(parts, image)
    assert host.is_clean()


@pytest.mark.parametrize(
    'wrong',
    [{'image_id': 'another'}, {'token': '0' * 32}, {'digest': '0' * 64}],
)
def test_who_does_not_know_the_binding_learns_and_changes_nothing(
    host: Host, parts: factory.Parts, wrong: dict[str, str]
) -> None:
    image = add(parts, DATA)
    guess = dataclasses.replace(image, **wrong)
    messages = set()
    for call in (
        lambda: read(parts, guess),
        lambda: remove(parts, guess),
        lambda: parts.images.size(guess),
    ):
        with pytest.raises(exceptions.NotFound) as caught:
            call()
        messages.add(str(caught.value))
    assert messages == {f'image {guess.image_id} is not stored here'}
    assert read(parts, image) == DATA


def test_a_template_that_the_catalog_lost_is_not_called_absent(
    host: Host, parts: factory.Parts
) -> None:
    image = add(parts, DATA)
    forget(host, f'state/templates/{image.digest}')
    assert parts.images.size(image) == len(DATA), 'a copy is here'
    host.copies()[0].rename(host.root / 'elsewhere')
    with pytest.raises(exceptions.Unavailable):
        parts.images.size(image)
