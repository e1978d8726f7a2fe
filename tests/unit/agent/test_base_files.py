# SPDX-License-Identifier: Apache-2.0
"""The step of a pass on a compute node, with an image cache of our own."""

import dataclasses
import types

import pytest

from tests import facts
from tmpl_glance_store import imagecache
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store.agent import base_files
from tmpl_glance_store.catalog import snapshot

TEMPLATES = {each.digest: each for each in map(facts.template, 'abc')}
A, B, C = TEMPLATES
HERE = 'n1/location'


class Cache:
    """Notes what it is told; Nova downloads what a test says."""

    def __init__(self):
        self.outcome = imagecache.Outcome()
        self.downloads = set()
        self.told = None

    def take_downloads(self, images):
        taken = self.downloads & set(images)
        self.downloads -= taken
        return taken

    def run(self, **told):
        self.told = types.SimpleNamespace(**told)
        return self.outcome


def now(templates, **copies):
    """Return a snapshot of {digest: images}, with the copies of one disk."""
    return snapshot.Snapshot(
        templates={
            digest: objects.TemplateRecord(
                TEMPLATES[digest],
                tuple(images or ()),
                deleted_at=None if images else 1.0,
            )
            for digest, images in templates.items()
        },
        locations={},
        copies={
            digest: {HERE: objects.Copy(digest, HERE, True, **fields)}
            for digest, fields in copies.items()
        },
        nodes={},
    )


def well(*digests):
    """Return the only location, which holds these templates."""
    return [
        types.SimpleNamespace(
            record=types.SimpleNamespace(id=HERE),
            paths=layout.Paths('/srv'),
            held=lambda: set(digests),
            has_room=lambda size: True,
        )
    ]


def look(step, seen, here):
    """Begin a pass; return what Nova makes of the templates."""
    step.take_downloads(seen, here)
    return step.demand


@pytest.fixture
def cache():
    return Cache()


@pytest.fixture
def recorded():
    return []


@pytest.fixture
def step(cache, recorded):
    return base_files.BaseFiles(cache, lambda *args: recorded.append(args))


def test_what_nova_downloads_is_wished_until_it_is_here(step, cache):
    seen = now({A: ['a'], B: ['b']})
    cache.downloads = {'a', 'unknown'}
    assert look(step, seen, set()).wished == {A}
    assert look(step, seen, set()).wished == {A}  # it is remembered
    assert look(step, seen, {A}).wished == set()
    assert look(step, seen, set()).wished == set()


def test_what_is_no_template_any_more_is_not_wished(step, cache):
    cache.downloads = {'a'}
    assert look(step, now({A: ['a']}), set()).wished == {A}
    assert look(step, now({B: ['b']}), set()).wished == set()


def test_a_transfer_that_failed_is_not_wished_for_ever(step, cache):
    cache.downloads = {'a'}
    seen = now({A: ['a']})
    look(step, seen, set())
    step.run(seen, well(), {A}, {A})
    assert look(step, seen, set()).wished == set()


def test_what_is_spare_is_what_the_last_pass_has_found(step, cache):
    assert look(step, now({}), set()).spare == set()
    cache.outcome = imagecache.Outcome(spare=frozenset([A]), next_change=7.0)
    assert look(step, now({}), set()).spare == {A}
    assert step.next_change() == 7.0


def test_the_cache_is_told_of_what_is_here_and_what_arrives(step, cache):
    step.run(
        now({A: ['a'], B: ['b'], C: None}), well(A, C), {A, B, 'gone'}, {B}
    )
    (held,) = cache.told.held
    assert (held.digest, held.images, held.root) == (A, ('a',), '/srv')
    assert held.directory == layout.Paths('/srv').copy(A)
    assert cache.told.arriving == {B: ('b',)}
    assert cache.told.failed == {B}
    assert cache.told.images == {'a': A, 'b': B}
    assert cache.told.roots == ['/srv']


@pytest.mark.parametrize(
    ('known', 'outcome', 'expected'),
    [
        ({}, {'published': {A: ('a',)}}, ('a',)),
        ({'published': ('a',)}, {'published': {A: ('a',)}}, None),
        ({'published': ('a',)}, {}, ()),
        ({}, {}, None),
    ],
)
def test_the_catalog_is_told_of_what_has_changed(
    step, cache, recorded, known, outcome, expected
):
    cache.outcome = imagecache.Outcome(**outcome)
    step.run(now({A: ['a']}, **{A: known}), well(A), set(), set())
    assert recorded == ([] if expected is None else [(A, HERE, expected, '')])


def test_the_catalog_is_told_of_what_must_not_be_published(
    step, cache, recorded
):
    cache.outcome = imagecache.Outcome(refusals={A: 'a bomb'})
    step.run(now({A: ['a']}, **{A: {}}), well(A), set(), set())
    assert recorded == [(A, HERE, (), 'a bomb')]


def test_a_copy_that_the_catalog_does_not_know_is_told_of_later(
    step, cache, recorded
):
    cache.outcome = imagecache.Outcome(published={A: ('a',)})
    step.run(now({A: ['a']}), well(A), set(), set())
    assert recorded == []


def test_a_node_without_nova_has_nothing_to_do():
    step = base_files.Step()
    seen = now({A: ['a']})
    assert look(step, seen, set()) == base_files.Demand()
    step.run(seen, well(A), set(), set())
    assert step.next_change() is None


@pytest.mark.parametrize('fields', [{'size': 0}, {'held': 'not inspected'}])
def test_what_must_not_boot_is_not_told_to_the_cache(step, cache, fields):
    empty = dataclasses.replace(facts.template('empty'), **fields)
    seen = dataclasses.replace(
        now({A: ['one']}, **{A: {}}),
        templates={
            A: objects.TemplateRecord(TEMPLATES[A], ('one',)),
            empty.digest: objects.TemplateRecord(empty, ('zero', 'nought')),
        },
    )
    cache.downloads = {'zero'}
    look(step, seen, set())
    assert step.demand.wished == frozenset()
    step.run(seen, well(A, empty.digest), {empty.digest}, set())
    assert [each.digest for each in cache.told.held] == [A]
    assert cache.told.arriving == {}
    assert cache.told.images == {'one': A}
    step.run(seen, well(A), {empty.digest}, set())
    assert cache.told.arriving == {}
