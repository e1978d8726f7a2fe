# SPDX-License-Identifier: Apache-2.0
"""Real disks, made by mount(8) and gone with the test. Needs root."""

import contextlib
import os
import pathlib
import shutil
import subprocess

MIB = 1 << 20

#: File systems on a loop device: how they are made, and the size they need.
KINDS = {
    'ext4': (['mkfs.ext4', '-q', '-m', '0'], 64 * MIB),
    'xfs': (['mkfs.xfs', '-q'], 320 * MIB),
}


def missing() -> list[str]:
    """Return the programs that are not installed; see bindep.txt."""
    wanted = ['mount', 'umount', *(make[0] for make, _ in KINDS.values())]
    return [name for name in wanted if shutil.which(name) is None]


def run(*command: object) -> None:
    """Run a command; its output shows when it fails."""
    try:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as exc:
        raise AssertionError(f'{command}: {exc.stderr}') from exc


class Disks:
    """Mounts disks below *root*."""

    def __init__(
        self, root: pathlib.Path, stack: contextlib.ExitStack
    ) -> None:
        self._root = root
        self._stack = stack

    def mount(self, name: str, kind: str, size: int = 0) -> pathlib.Path:
        """Return the mount point of a new, empty disk."""
        where = self._root / name
        where.mkdir()
        if kind == 'tmpfs':
            self._mount('-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', where)
            return where
        make, least = KINDS[kind]
        image = self._root / f'{name}.disk'
        image.touch()
        os.truncate(image, max(size, least))
        run(*make, image)
        self._mount('-o', 'loop', image, where)
        return where

    def remount(self, name: str) -> None:
        """Mount a disk again that a test has unmounted."""
        run(
            'mount',
            '-o',
            'loop',
            self._root / f'{name}.disk',
            self._root / name,
        )

    def bind(self, source: pathlib.Path, name: str) -> pathlib.Path:
        """Show a directory at a second place: no rename goes there."""
        source.mkdir()
        where = self._root / name
        where.mkdir()
        self._mount('--bind', source, where)
        return where

    def _mount(self, *arguments: object) -> None:
        run('mount', *arguments)
        # Lazily: also when a failed test still has a file open. The loop
        # device goes with the last mount.
        self._stack.callback(run, 'umount', '--lazy', arguments[-1])
