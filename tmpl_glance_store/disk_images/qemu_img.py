# SPDX-License-Identifier: Apache-2.0
"""The only door to qemu-img: with limits, and without rights.

What it reads was uploaded by a tenant. It gets open files instead of names,
runs as nobody where the agent is root, and without the agent's capabilities
where it is not; so a template that takes it over can reach nothing else.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable
from typing import IO, Any

from tmpl_glance_store import exceptions

# Seconds, as Nova's images_cpu_time_limit. Where the two limits are the same,
# the kernel kills with the signal of somebody who is short of memory.
_CPU = '30:40'
_MEMORY = 2 << 30  # bytes of address space, as images_address_space_limit
_PATIENCE = 120  # seconds for a look at an image
_POLL = 0.2  # seconds between two looks at a conversion
_TALK = 8 << 20  # bytes that it may say; of a hostile image it says GiBs
_NOBODY = 65534
_HOLE = '64k'  # runs of zeros of this length become holes

_PROGRESS = re.compile(rb'\(([0-9.]+)/100%\)')

_LIMITS = ('prlimit', f'--as={_MEMORY}', f'--cpu={_CPU}', f'--fsize={_TALK}')
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
    """qemu-img refused an image, or came to its limits; says why."""


def info(fd: int) -> dict[str, Any]:
    """Return what ``qemu-img info`` says of the open file *fd*.

    :raises Failed: if it is no image, or a damaged one
    :raises Unavailable: if there is no answer, whatever the image is
    """
    return _ask(fd, 'info')


def check(fd: int, image_format: str) -> dict[str, Any]:
    """Return what ``qemu-img check`` counts in the open file *fd*.

    :raises Failed: if it cannot be checked
    :raises Unavailable: if there is no answer, whatever the image is
    """
    return _ask(fd, 'check', '-f', image_format, good=(0, 2, 3))


def convert_to_raw(
    source: int,
    image_format: str,
    target: int,
    *,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> None:
    """Write what the image *source* contains into the file *target*.

    :param source: descriptor of an image that has been inspected
    :param target: descriptor of an empty file, as long as the disk is
    :param progress: told the percentage done
    :param check: called several times a second; what it raises ends it
    :raises Failed: if qemu-img does not succeed with this image
    :raises Unavailable: if it was hindered
    """
    if os.geteuid() == 0:
        os.fchown(target, _NOBODY, _NOBODY)
    command = [
        'ionice',
        '-c',
        '3',
        'nice',
        '-n',
        '10',
        'prlimit',
        f'--as={_MEMORY}',
        *_rights(),
        'qemu-img',
        'convert',
        '-p',
        '-n',
        '--target-is-zero',
        '-U',
        '-t',
        'writeback',
        '-S',
        _HOLE,
        '-f',
        image_format,
        '-O',
        'raw',
        _name(source),
        _name(target),
    ]
    # Into files: a full pipe would block it.
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=(source, target),
            start_new_session=True,
        ) as process,
    ):
        try:
            while _wait(process) is None:
                check()
                progress(_percentage(output))
                if _size(errors) + _size(output) > _TALK:
                    raise Failed('qemu-img convert: it complains too much')
        except BaseException:
            process.kill()
            raise
        if process.returncode:
            raise _failure('qemu-img convert', process.returncode, errors)
        check()


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(_POLL)
    return None


def _percentage(output: Any) -> float:
    size = os.fstat(output.fileno()).st_size
    found = _PROGRESS.findall(os.pread(output.fileno(), 64, max(size - 64, 0)))
    return float(found[-1]) if found else 0.0


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _failure(what: str, code: int, errors: IO[bytes]) -> exceptions.TmplError:
    """Return what a command's end means.

    Only qemu-img's own answer, and a limit that it came to, say something of
    the image.
    """
    said = os.pread(errors.fileno(), 4096, 0)
    if -code in (signal.SIGKILL, signal.SIGTERM) or said.startswith(
        (b'setpriv:', b'prlimit:', b'ionice:', b'nice:')
    ):
        return exceptions.Unavailable(
            f'{what}: {_clean(said) or f"it was killed by signal {-code}"}'
        )
    return Failed(f'{what}: {_clean(said) or f"it ended with {code}"}')


def _ask(
    fd: int, verb: str, *options: str, good: tuple[int, ...] = (0,)
) -> dict[str, Any]:
    command = [
        *_LIMITS,
        *_rights(),
        'qemu-img',
        verb,
        '-U',
        '--output=json',
        *options,
        _name(fd),
    ]
    try:
        answer: dict[str, Any] = json.loads(_run(command, (fd,), good))
    except ValueError as exc:
        raise Failed(f'qemu-img {verb}: {exc}') from exc
    return answer


def _run(
    command: list[str], fds: tuple[int, ...], good: tuple[int, ...]
) -> bytes:
    # Into files: they have a limit, and pipes have to be read.
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        try:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                pass_fds=fds,
                timeout=_PATIENCE,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise exceptions.Unavailable(
                f'qemu-img: no answer within {_PATIENCE} s'
            ) from None
        except OSError as exc:
            raise exceptions.Unavailable(
                f'qemu-img cannot be run: {exc}'
            ) from exc
        answer = os.pread(output.fileno(), _TALK, 0)
        if code not in good or not answer:
            raise _failure('qemu-img', code, errors)
        return answer


def _rights() -> tuple[str, ...]:
    return _NOT_ROOT if os.geteuid() == 0 else _UNPRIVILEGED


def _name(fd: int) -> str:
    return f'/dev/fd/{fd}'


def _clean(text: bytes) -> str:
    """Return *text* fit for a log: parts of it may be the image's own."""
    return re.sub(
        r'[^\x20-\x7e]+', ' ', text.decode(errors='replace')
    ).strip()[:300]
