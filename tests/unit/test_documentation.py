# SPDX-License-Identifier: Apache-2.0
import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = ROOT / 'doc' / 'source' / 'contributor'


def page(name):
    return (PAGES / name).read_text(encoding='utf-8')


@pytest.fixture
def draw():
    path = ROOT / 'doc' / 'diagrams' / 'draw.py'
    spec = importlib.util.spec_from_file_location('draw', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def defined():
    """Return the names of all tests that there are."""
    return {
        name
        for path in (ROOT / 'tests').rglob('*.py')
        for name in re.findall(
            r'^\s*def (test_\w+)\(', path.read_text(encoding='utf-8'), re.M
        )
    }


def test_the_tests_that_prove_the_invariants_are_there(defined):
    named = re.findall(r'``(test_\w+)``', page('invariants.rst'))
    assert set(named) - defined == set()


def test_no_invariant_is_without_a_test():
    invariants = re.split(
        r'^\d+\. .*\n=+$', page('invariants.rst'), flags=re.M
    )
    assert len(invariants) == 13
    assert all('* ``test_' in each for each in invariants[1:])


def test_the_pictures_are_those_of_their_source(draw):
    assert draw.ALL
    for name, picture in draw.ALL.items():
        assert page(name) == picture().svg(), 'python doc/diagrams/draw.py'


def test_every_file_that_is_named_is_there():
    missing = []
    for path in PAGES.rglob('*.rst'):
        text = path.read_text(encoding='utf-8')
        for name in re.findall(r'``([\w./-]+(?:\.py|\.rst|\.txt|/))``', text):
            if not _is_there(name):
                missing.append((path.name, name))
    assert missing == []


def test_every_room_has_a_place_in_the_house():
    text = page('architecture.rst')
    package = ROOT / 'tmpl_glance_store'
    rooms = [f'{each.parent.name}/' for each in package.glob('*/__init__.py')]
    files = [each.name for each in package.glob('[!_]*.py')]
    assert [each for each in rooms + files if f'``{each}``' not in text] == []


def test_no_file_cites_what_is_outside_the_repository():
    outside = re.compile(r'\bDESIGN\b|STYLE\.md|\.\./shared')
    citing = [
        path
        for top in ('tmpl_glance_store', 'harness', 'tools', 'doc', 'etc')
        for path in (ROOT / top).rglob('*')
        if path.suffix in ('.py', '.rst', '.conf', '.sample', '.service')
        and outside.search(path.read_text(encoding='utf-8'))
    ]
    assert citing == []


# What the pages have readers make, and what lies on disks.
_MADE = {
    'etc/tmpl/',
    'incoming/',
    'published/',
    'quarantine/',
    'templates/',
}


def _is_there(name):
    if name in _MADE or (ROOT / name).exists():
        return True
    return any((ROOT / 'tmpl_glance_store').rglob(name.rstrip('/')))
