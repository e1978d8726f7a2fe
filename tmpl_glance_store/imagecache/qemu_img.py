"""The only door to qemu-img: with limits, and without rights.

What it reads was uploaded by a tenant. It gets open files instead of names,
runs as nobody where the agent is root, and without the agent's capabilities
where it is not; so a template that takes it over can reach nothing else.
"""

import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

from tmpl_glance_store import exceptions

_CPU = 30  # seconds, as Nova's images_cpu_time_limit
_MEMORY = 2 << 30  # bytes of address space, as images_address_space_limit
_PATIENCE = 120  # seconds for a look at an image
_POLL = 0.2  # seconds between two looks at a conversion
_NOBODY = 65534
_HOLE = '64k'  # runs of zeros of this length become holes

_PROGRESS = re.compile(rb'\(([0-9.]+)/100%\)')

_LIMITS = 'prlimit', f'--as={_MEMORY}', f'--cpu={_CPU}'
# Should the agent be killed, they die too.
_SETPRIV = 'setpriv', '--pdeathsig=KILL', '--no-new-privs', '--inh-caps=-all'
_UNPRIVILEGED = (*_SETPRIV, '--ambient-caps=-all')
_NOT_ROOT = (*_SETPRIV, '--bounding-set=-all', f'--reuid={_NOBODY}',
             f'--regid={_NOBODY}', '--clear-groups')


class Failed(exceptions.TmplError):
    """qemu-img refused an image, or came to its limits; says why."""


def info(fd: int) -> dict[str, Any]:
    """Return what ``qemu-img info`` says of the open file *fd*.

    :raises Failed: if it is no image, or a damaged one
    """
    return _ask(fd, 'info')


def check(fd: int, image_format: str) -> dict[str, Any]:
    """Return what ``qemu-img check`` counts in the open file *fd*.

    :raises Failed: if it cannot be checked
    """
    return _ask(fd, 'check', '-f', image_format, good=(0, 2, 3))


def backing_chain(path: str) -> list[str]:
    """Return the absolute paths of what the qcow2 disk *path* sits on.

    Takes no lock: the disk may be a running guest's. Of a qcow2 disk the
    guest cannot reach the header, so the agent's own rights are safe here.

    :raises Failed: if it cannot be read
    """
    command = [*_LIMITS, 'qemu-img', 'info', '-U', '--output=json',
               '-f', 'qcow2', path]
    try:
        answer = _run([*command, '--backing-chain'])
        return [each['filename'] for each in json.loads(answer)[1:]]
    except Failed:
        # Its base has another path, or is not readable, here.
        name = json.loads(_run(command)).get('backing-filename')
        return [name] if name else []


def convert_to_raw(source: int, image_format: str, target: int, *,
                   progress: Callable[[float], None],
                   check: Callable[[], None]) -> None:
    """Write what the image *source* contains into the file *target*.

    :param source: descriptor of an image that has been inspected
    :param target: descriptor of an empty file, as long as the disk is
    :param progress: told the percentage done
    :param check: called several times a second; what it raises ends it
    :raises Failed: if qemu-img does not succeed
    """
    if os.geteuid() == 0:
        os.fchown(target, _NOBODY, _NOBODY)
    command = ['ionice', '-c', '3', 'nice', '-n', '10',
               'prlimit', f'--as={_MEMORY}', *_rights(),
               'qemu-img', 'convert', '-p', '-n', '--target-is-zero', '-U',
               '-t', 'writeback', '-S', _HOLE, '-f', image_format,
               '-O', 'raw', _name(source), _name(target)]
    # Into files: a full pipe would block it.
    with (tempfile.TemporaryFile() as output,
          tempfile.TemporaryFile() as errors,
          subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                           stderr=errors, pass_fds=(source, target),
                           start_new_session=True) as process):
        try:
            while _wait(process) is None:
                check()
                progress(_percentage(output))
        except BaseException:
            process.kill()
            raise
        if process.returncode:
            raise Failed(f'qemu-img convert: {_tail(errors)}')


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(_POLL)
    return None


def _percentage(output: Any) -> float:
    size = os.fstat(output.fileno()).st_size
    found = _PROGRESS.findall(os.pread(output.fileno(), 64,
                                       max(size - 64, 0)))
    return float(found[-1]) if found else 0.0


def _tail(errors: Any) -> str:
    errors.seek(0)
    return _clean(errors.read(4096))


def _ask(fd: int, verb: str, *options: str,
         good: tuple[int, ...] = (0,)) -> dict[str, Any]:
    command = [*_LIMITS, *_rights(), 'qemu-img', verb, '-U', '--output=json',
               *options, _name(fd)]
    answer: dict[str, Any] = json.loads(_run(command, (fd,), good))
    return answer


def _run(command: list[str], fds: tuple[int, ...] = (),
         good: tuple[int, ...] = (0,)) -> bytes:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL,
                              capture_output=True, pass_fds=fds,
                              timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f'no answer within {_PATIENCE} s') from None
    except OSError as exc:
        raise Failed(f'it cannot be run: {exc}') from exc
    if done.returncode not in good or not done.stdout:
        raise Failed(_clean(done.stderr)
                     or f'it ended with {done.returncode}')
    return done.stdout


def _rights() -> tuple[str, ...]:
    return _NOT_ROOT if os.geteuid() == 0 else _UNPRIVILEGED


def _name(fd: int) -> str:
    return f'/dev/fd/{fd}'


def _clean(text: bytes) -> str:
    """Return *text* fit for a log: parts of it may be the image's own."""
    return re.sub(r'[^\x20-\x7e]+', ' ',
                  text.decode(errors='replace')).strip()[:300]
