# SPDX-License-Identifier: Apache-2.0
"""Change the product line by line, and see whether a test fails each time.

Run by ``tox -e mutants``, for all modules that pyproject.toml lists under
``[tool.mutmut]``, or for those given. What no test sees must stand in
``tests/mutants.toml``, with the reason why it changes nothing.
"""

import argparse
import fnmatch
import pathlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator

ACCEPTED = pathlib.Path('tests/mutants.toml')
#: What ``mutmut results`` says of a mutant that a test has seen.
_SEEN = 'killed', 'timeout', 'caught by type check', 'skipped', 'not checked'

#: A function, a line of it, and what became of that line.
Change = tuple[str, str, str]


def main() -> int:
    """Return 1 if a mutant survives without a reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('files', nargs='*', help='modules; all unless given')
    patterns = [
        f'{name.removesuffix(".py").replace("/", ".")}.*'
        for name in parser.parse_args().files
    ]
    # It draws its progress, thousands of times.
    subprocess.run(
        [*_mutmut(), 'run', *patterns],
        check=True,
        stdout=None if sys.stdout.isatty() else subprocess.DEVNULL,
    )
    accepted = _accepted()
    left = [
        (name, change)
        for name in _survivors(patterns or ['*'])
        if (change := _change(name)) not in accepted
    ]
    for name, (_, was, now) in left:
        print(f'{name}\n  - {was}\n  + {now}')
    print(f'{len(left)} mutants survive without a reason')
    return int(bool(left))


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
