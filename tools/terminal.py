# SPDX-License-Identifier: Apache-2.0
"""What a demo shows: numbered steps with their times, on any terminal."""

import contextlib
import os
import pty
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

_INDENT = ' ' * 6
# As python-openstackclient draws it.
_BAR = re.compile(r'\[=*>? *\] +\d+%')
_COLOURS = {'bold': 1, 'red': 31, 'green': 32, 'cyan': 36, 'dim': 2}


class Terminal:
    """Prints steps; with colours where a person looks at a terminal."""

    def __init__(self) -> None:
        self._tty = sys.stdout.isatty()
        self._colours = self._tty and 'NO_COLOR' not in os.environ

    def paint(self, text: str, colour: str) -> str:
        """Return *text* in a colour, if there are colours here."""
        if not self._colours:
            return text
        return f'\x1b[{_COLOURS[colour]}m{text}\x1b[0m'

    def title(self, text: str) -> None:
        """Print a line that stands out."""
        print(self.paint(text, 'bold'), flush=True)

    def say(self, text: str = '') -> None:
        """Print *text*, indented below its step."""
        for line in text.splitlines():
            print(f'{_INDENT}{line}', flush=True)

    def command(self, *argv: str) -> None:
        """Show a command line that is about to run."""
        self.say(self.paint(f'$ {shlex.join(argv)}', 'cyan'))

    @contextlib.contextmanager
    def step(self, number: str, name: str) -> Iterator[None]:
        """Frame a step with its name, whether it held, and its time."""
        self.title(f'[{number}] {name}')
        started = time.monotonic()
        try:
            yield
        except BaseException as error:
            failed = isinstance(error, Exception)
            self.say(self.paint('FAILED' if failed else 'stopped', 'red'))
            raise
        seconds = self.paint(f'{time.monotonic() - started:.1f} s', 'dim')
        self.say(f'{self.paint("ok", "green")} {seconds}')

    @contextlib.contextmanager
    def live(self) -> Iterator[Callable[[Sequence[str]], None]]:
        """Give a function that shows lines in the place of its last ones.

        Where there is no terminal, only the last lines are shown, at the end.
        """
        shown: Sequence[str] = ()

        def show(lines: Sequence[str]) -> None:
            nonlocal shown
            if self._tty:
                up = f'\x1b[{len(shown)}A' if shown else ''
                print(
                    up
                    + ''.join(f'\r\x1b[K{_INDENT}{line}\n' for line in lines),
                    end='',
                    flush=True,
                )
            shown = lines

        yield show
        if not self._tty:
            self.say('\n'.join(shown))

    def failure(self, reason: str, log: str) -> None:
        """Say why a step failed; *log* may tell more."""
        self.say(self.paint(reason, 'red'))
        if log:
            self.say('The end of the log of Glance:')
            self.say(self.paint(log, 'dim'))

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> str:
        """Run *argv* on a terminal of its own; show its progress bar.

        Programs draw such bars only on a terminal. Where ours is none, only
        the bar's last state is shown.

        :returns: all the rest of the output
        :raises subprocess.CalledProcessError: if it fails
        """
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        try:
            os.close(theirs)
            output = self._show_bar(ours)
            status = process.wait()
        finally:
            os.close(ours)
            process.kill()
            process.wait()
        if status:
            raise subprocess.CalledProcessError(status, argv, output)
        return output

    def _show_bar(self, source: int) -> str:
        text, bar = '', None
        for piece in _read(source):
            text += piece
            bar = next(reversed(_BAR.findall(piece)), bar)
            if bar and self._tty:
                print(f'\r{_INDENT}{bar}', end='', flush=True)
        if bar:
            print('' if self._tty else f'{_INDENT}{bar}', flush=True)
        return _BAR.sub('', text).replace('\r', '').strip()


def _read(source: int) -> Iterator[str]:
    # Linux says EIO when the other side of a terminal is gone.
    with contextlib.suppress(OSError):
        while data := os.read(source, 65536):
            yield data.decode(errors='replace')
