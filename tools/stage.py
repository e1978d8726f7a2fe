# SPDX-License-Identifier: Apache-2.0
"""What all parts of the demo share: a directory, a screen, a template."""

import hashlib
import pathlib
import re
import shutil
from collections.abc import Mapping

from harness import programs
from tools import template_image
from tools import terminal

MIB = 1 << 20

#: Bytes of files in the template, and bytes that the demo needs on the disk.
DATA_SIZE = 400 * MIB
ROOM = 10 * DATA_SIZE


class StepFailed(Exception):
    """Something that the demo shows does not hold."""


def check(holds: object, otherwise: str) -> None:
    """Fail the step unless *holds*; *otherwise* says what is wrong."""
    if not holds:
        raise StepFailed(otherwise)


class Stage:
    """Where the demo plays.

    :param scratch: directory for everything
    """

    def __init__(
        self, scratch: pathlib.Path, screen: terminal.Terminal
    ) -> None:
        self.scratch = scratch
        self.screen, self.say = screen, screen.say

    def make_template(self) -> None:
        """Make :attr:`template`, whose bytes hash to :attr:`sha256`."""
        check(
            shutil.disk_usage(self.scratch).free > ROOM,
            f'{self.scratch} has no {ROOM // MIB} MiB free; '
            f'set TMPDIR to a directory that has',
        )
        self.template = template_image.make_template(self.scratch, DATA_SIZE)
        self.sha256 = sha256(self.template.path)
        self.say(
            f'{self.template.path.name}: {mib(self.template.size)} '
            f'of qcow2 with {self.template.files} files, a disk of '
            f'{mib(self.template.virtual_size)}'
        )

    def run(
        self, environment: Mapping[str, str], name: str, *arguments: str
    ) -> str:
        """Show a command, run it, and return what it prints."""
        self.screen.command(name, *map(self.short, arguments))
        return self.screen.run(
            [programs.program(name), *arguments], environment
        )

    def short(self, text: str) -> str:
        """Return *text* without the scratch directory and long hashes."""
        text = text.replace(f'{self.scratch}/', '')
        return re.sub(r'\b([0-9a-f]{8})[0-9a-f]{56}\b', r'\1...', text)


def sha256(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def mib(size: float) -> str:
    """Return *size*, bytes, for people."""
    return f'{size / MIB:.0f} MiB'
