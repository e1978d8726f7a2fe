# SPDX-License-Identifier: Apache-2.0
"""Runs a program that reads hostile files: with limits, without rights.

It gets open files instead of names, runs as nobody where the agent is root,
and without the agent's capabilities where it is not; so an image that takes
it over can reach nothing else.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from tmpl_glance_store import exceptions

#: Bytes that a program may say; of a hostile image it says GiBs.
TALK = 8 << 20

# Seconds, as Nova's images_cpu_time_limit. Where the two limits are the same,
# the kernel kills with the signal of somebody who is short of memory.
_CPU = '30:40'
_MEMORY = 2 << 30  # bytes of address space, as images_address_space_limit
_PATIENCE = 120  # seconds for a question
_POLL = 0.2  # seconds between two looks at a long work
_NOBODY = 65534

_LIMITS = ('prlimit', f'--as={_MEMORY}', f'--cpu={_CPU}', f'--fsize={TALK}')
_IN_NO_HURRY = (
    *('ionice', '-c', '3'),
    *('nice', '-n', '10'),
    *('prlimit', f'--as={_MEMORY}'),
)
# Should the agent be killed, they die too.
_SETPRIV = 'setpriv', '--pdeathsig=KILL', '--no-new-privs', '--inh-caps=-all'
_UNPRIVILEGED = (*_SETPRIV, '--ambient-caps=-all')
_NOT_ROOT = (
    *_SETPRIV,
    '--bounding-set=-all',
    f'--reuid={_NOBODY}',
    f'--regid={_NOBODY}',
    '--clear-groups',
)


class Failed(exceptions.TmplError):
    """The program refused an image, or came to its limits; says why."""


def ask(
    command: Sequence[str], fds: Sequence[int], good: Sequence[int] = (0,)
) -> bytes:
    """Return what a program says, to its output.

    :param fds: the files that it may read
    :param good: the exit codes of an answer
    :raises Failed: if it does not answer because of what it has read
    :raises Unavailable: if there is no answer, whatever the file is
    """
    with _files() as (output, errors):
        try:
            code = subprocess.run(
                (*_LIMITS, *_rights(), *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                pass_fds=tuple(fds),
                timeout=_PATIENCE,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise exceptions.Unavailable(
                f'{command[0]}: no answer within {_PATIENCE} s'
            ) from None
        except OSError as exc:
            raise exceptions.Unavailable(
                f'{command[0]} cannot be run: {exc}'
            ) from exc
        answer = os.pread(output.fileno(), TALK, 0)
        if code not in good or not answer:
            raise _failure(command[0], code, errors)
        return answer


def work(
    command: Sequence[str], fds: Sequence[int], look: Callable[[bytes], None]
) -> None:
    """Let a program work for as long as it takes, when nobody else does.

    :param fds: the files that it may use
    :param look: told several times a second the last that it has said; what
        it raises ends the program
    :raises Failed: if it does not succeed with these files
    :raises Unavailable: if it was hindered
    """
    name = ' '.join(command[:2])
    with (
        _files() as (output, errors),
        subprocess.Popen(
            (*_IN_NO_HURRY, *_rights(), *command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=tuple(fds),
            start_new_session=True,
        ) as process,
    ):
        try:
            while _wait(process) is None:
                look(_end_of(output))
                if _size(errors) + _size(output) > TALK:
                    raise Failed(f'{name}: it complains too much')
        except BaseException:
            # With all that it has started, which would write on.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.returncode:
            raise _failure(name, process.returncode, errors)


def give(fd: int) -> None:
    """Give an open file to whom the program runs as."""
    if os.geteuid() == 0:
        os.fchown(fd, _NOBODY, _NOBODY)


def name(fd: int) -> str:
    """Return the name by which the program opens one of its files."""
    return f'/dev/fd/{fd}'


@contextlib.contextmanager
def _files() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Give files for output and errors: they have a limit.

    And a full pipe would block the program.
    """
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        yield output, errors


def _rights() -> tuple[str, ...]:
    return _NOT_ROOT if os.geteuid() == 0 else _UNPRIVILEGED


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(_POLL)
    return None


def _end_of(output: IO[bytes]) -> bytes:
    return os.pread(output.fileno(), 64, max(_size(output) - 64, 0))


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _failure(what: str, code: int, errors: IO[bytes]) -> exceptions.TmplError:
    """Return what a command's end means.

    Only the program's own answer, and a limit that it came to, say something
    of the image.
    """
    said = os.pread(errors.fileno(), 4096, 0)
    if -code in (signal.SIGKILL, signal.SIGTERM) or said.startswith(
        (b'setpriv:', b'prlimit:', b'ionice:', b'nice:')
    ):
        return exceptions.Unavailable(
            f'{what}: {_clean(said) or f"it was killed by signal {-code}"}'
        )
    return Failed(f'{what}: {_clean(said) or f"it ended with {code}"}')


def _clean(text: bytes) -> str:
    """Return *text* fit for a log: parts of it may be the image's own."""
    return re.sub(
        r'[^\x20-\x7e]+', ' ', text.decode(errors='replace')
    ).strip()[:300]
