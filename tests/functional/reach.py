# SPDX-License-Identifier: Apache-2.0
"""Runs a command where every user can reach this Python and this checkout.

``unshare -m reach.py COMMAND...``: both may be below a directory that only
root may enter, such as /root. In the command's own view of the file system
everybody may enter it, and there is nothing in it but these two.
"""

import os
import pathlib
import subprocess
import sys

_ROOM = pathlib.Path('/mnt')  # only a mount point, in a view of our own


def main() -> None:
    """Become the command."""
    needed = {
        pathlib.Path(each).resolve()
        for each in (
            sys.prefix,
            sys.base_prefix,
            pathlib.Path(__file__).parents[2],
        )
    }
    # One may be below another one: from the outside in.
    while directory := first_closed(needed):
        open_up(
            directory,
            [
                path
                for path in sorted(needed)
                if path.is_relative_to(directory)
            ],
        )
    os.execvp(sys.argv[1], sys.argv[1:])


def first_closed(needed: set[pathlib.Path]) -> pathlib.Path | None:
    """Return a closed directory on the way, none further out, if any."""
    return next(
        (
            each
            for path in sorted(needed)
            for each in (*reversed(path.parents), path)
            if is_closed(each)
        ),
        None,
    )


def is_closed(directory: pathlib.Path) -> bool:
    """Tell whether strangers may not enter a directory."""
    return not directory.stat().st_mode & 0o001


def open_up(directory: pathlib.Path, paths: list[pathlib.Path]) -> None:
    """Leave nothing of *directory* but *paths*, for everybody."""
    mount('-t', 'tmpfs', '-o', 'mode=755', 'none', _ROOM)
    for path in paths:
        for each in path.iterdir() if is_closed(path) else (path,):
            inside = _ROOM / each.relative_to(directory)
            inside.parent.mkdir(0o755, parents=True, exist_ok=True)
            if each.is_dir():
                inside.mkdir(exist_ok=True)
            else:
                inside.touch()
            mount('--rbind', each, inside)
    mount('--rbind', _ROOM, directory)


def mount(*arguments: object) -> None:
    """Run mount(8)."""
    subprocess.run(['mount', *map(str, arguments)], check=True)


if __name__ == '__main__':
    os.umask(0o022)
    main()
