# SPDX-License-Identifier: Apache-2.0
"""Change the product line by line, and see whether a test fails each time.

Run by ``tox -e mutants``, for all modules that pyproject.toml lists under
``[tool.mutmut]``, or for those given. What no test sees must stand in
``tests/mutants.toml``, with the reason why it changes nothing.

Each module is held to the tests of its own room, which are quick: that a test
of another room fails as well does not count.
"""

import argparse
import fnmatch
import pathlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator

ACCEPTED = pathlib.Path('tests/mutants.toml')
#: A module, or the room that it is in, and the tests that are to see it.
TESTS = {
    'tmpl_glance_store/agent/plan.py': ['tests/unit/agent/test_plan*.py'],
    'tmpl_glance_store/copies/': ['tests/unit/copies', 'tests/durability'],
    'tmpl_glance_store/imagecache/decision.py': [
        'tests/unit/imagecache/test_decision*.py'
    ],
    'tmpl_glance_store/localstore/': [
        'tests/unit/localstore',
        'tests/durability',
    ],
    'tmpl_glance_store/merkle.py': ['tests/unit/test_merkle.py'],
    'tmpl_glance_store/placement/': ['tests/unit/placement'],
}
#: Runs mutmut, which can be told of tests only in pyproject.toml, with others.
_WITH_TESTS = """
import sys
from mutmut import __main__, configuration
configuration.config().pytest_add_cli_args_test_selection = (
    sys.argv.pop(1).split(','))
__main__.cli()
"""
#: What ``mutmut results`` says of a mutant that a test has seen.
_SEEN = 'killed', 'timeout', 'caught by type check', 'skipped'

#: A function, a line of it, and what became of that line.
Change = tuple[str, str, str]


def main() -> int:
    """Return 1 if a mutant survives without a reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('files', nargs='*', help='modules; all unless given')
    left: list[tuple[str, Change]] = []
    for room, modules in _by_room(parser.parse_args().files).items():
        left += _left(TESTS[room], [_pattern(each) for each in modules])
    for name, (_, was, now) in left:
        print(f'{name}\n  - {was}\n  + {now}')
    print(f'{len(left)} mutants survive without a reason')
    return int(bool(left))


def _by_room(files: list[str]) -> dict[str, list[str]]:
    """Return the modules to change, by the room whose tests see them."""
    if not files:
        return {room: [room] for room in TESTS}
    rooms: dict[str, list[str]] = {}
    for file in files:
        room = next((each for each in TESTS if file.startswith(each)), None)
        if room is None:
            sys.exit(f'{file}: no tests are known to be for it')
        rooms.setdefault(room, []).append(file)
    return rooms


def _pattern(path: str) -> str:
    """Return what the names of the mutants of a module, or room, match."""
    return f'{path.removesuffix(".py").rstrip("/").replace("/", ".")}.*'


def _left(tests: list[str], patterns: list[str]) -> list[tuple[str, Change]]:
    """Return what of a room survives its tests without a reason."""
    found = [
        str(path)
        for each in tests
        for path in sorted(pathlib.Path().glob(each))
    ]
    # It draws its progress, thousands of times.
    subprocess.run(
        [
            *(sys.executable, '-c', _WITH_TESTS, ','.join(found)),
            *('run', *patterns),
        ],
        check=True,
        stdout=None if sys.stdout.isatty() else subprocess.DEVNULL,
    )
    accepted = _accepted()
    return [
        (name, change)
        for name in _survivors(patterns)
        if (change := _change(name)) not in accepted
    ]


def _mutmut() -> list[str]:
    return [sys.executable, '-m', 'mutmut']


def _accepted() -> set[Change]:
    with ACCEPTED.open('rb') as file:
        return {
            (each['function'], each['was'], each['now'])
            for each in tomllib.load(file).get('survivor', ())
            if each['reason']
        }


def _survivors(patterns: list[str]) -> Iterator[str]:
    for line in _output('results', '--all', 'true').splitlines():
        name, _, state = line.strip().partition(': ')
        if state not in _SEEN and any(
            fnmatch.fnmatch(name, pattern) for pattern in patterns
        ):
            yield name


def _change(name: str) -> Change:
    """Return what a mutant has changed, without the number of its line."""
    lines = _output('show', name).splitlines()
    was, now = (
        ' '.join(
            line[1:].strip()
            for line in lines
            if line.startswith(sign) and not line.startswith(sign * 3)
        )
        for sign in '-+'
    )
    return name.rpartition('__mutmut_')[0], was, now


def _output(*arguments: str) -> str:
    return subprocess.run(
        [*_mutmut(), *arguments], check=True, capture_output=True, text=True
    ).stdout


if __name__ == '__main__':
    sys.exit(main())
