# SPDX-License-Identifier: Apache-2.0
"""Forks a process for each job, which works on a host until it is killed.

``python crash_child.py`` reads a job a line from its standard input, and
writes what came of it to its standard output; both are JSON. To fork is much
faster than to start Python again, and a killed child cannot clean up.

A job says ``host``, ``act`` (open, add or remove) with its arguments, and how
it ends: ``kill_at`` or ``stop_at`` the name of a step, ``kill_after`` the nth
change, ``kill_in`` so many seconds.
"""

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any

from harness.host import Host
from harness.host import content
from tmpl_glance_store import factory
from tmpl_glance_store.images import url as image_url

#: What changes a disk, besides the bytes of the image.
CHANGES = frozenset(
    (
        'fchmod',
        'fsync',
        'ftruncate',
        'link',
        'mkdir',
        'rename',
        'rmdir',
        'unlink',
    )
)


class Changes:
    """Counts the changes of disk and catalog; kills the process after one.

    :param kill_after: the number of that change, 0 for none
    """

    def __init__(self, kill_after: int) -> None:
        self.count = 0
        self._kill_after = kill_after
        self._in_transaction = False

    def __call__(self, frame: object, event: str, function: Any) -> None:
        """See ``sys.setprofile``."""
        if event in ('c_call', 'c_return') and self._changes(event, function):
            self.count += 1
            if self.count == self._kill_after:
                os.kill(os.getpid(), signal.SIGKILL)

    def _changes(self, event: str, function: Any) -> bool:
        owner = function.__self__
        if not isinstance(owner, sqlite3.Connection):
            return event == 'c_return' and function.__name__ in CHANGES
        before, now = self._in_transaction, owner.in_transaction
        self._in_transaction = now
        return before and not now  # committed


def work(job: dict[str, Any], started: int) -> int:
    """Do the job in this process; return how much it changed."""

    def on_step(step: str) -> None:
        if step == job.get('kill_at'):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == job.get('stop_at'):
            os.kill(os.getpid(), signal.SIGSTOP)

    parts = factory.Parts(Host.from_json(job['host']).options, on_step)
    if job['act'] != 'open':
        parts.images.open()
    acts: dict[str, Callable[[], object]] = {
        'open': parts.images.open,
        'add': lambda: parts.images.add(
            job['image_id'], chunks(job), job['size'], 'sha256'
        ),
        'remove': lambda: parts.images.remove(
            image_url.ImageUrl.parse(job['url'])
        ),
    }
    changes = Changes(job.get('kill_after', 0))
    os.write(started, b'!')
    sys.setprofile(changes)
    acts[job['act']]()
    sys.setprofile(None)
    return changes.count


def chunks(job: dict[str, Any]) -> Any:
    """Yield the content of a job in chunks."""
    data = content(job['size'], job['seed'])
    return (
        data[start : start + 65536] for start in range(0, len(data), 65536)
    )


def fork(job: dict[str, Any]) -> int:
    """Do the job in a new process; return its id once it has begun."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        os.read(read, 1)
        os.close(read)
        return pid
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        answer({'changes': work(job, write)})
    except BaseException as exc:
        answer({'error': repr(exc)})
    finally:
        os._exit(0)


def wait(pid: int) -> dict[str, Any]:
    """Wait until the process ends or stops itself; say which."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return {'stopped': pid}
    return {'killed': os.WIFSIGNALED(status)}


def answer(values: dict[str, Any]) -> None:
    """Write a line to the standard output."""
    os.write(1, json.dumps(values).encode() + b'\n')


def main() -> None:
    """Do the jobs until the standard input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        if 'signal' in job:
            os.kill(job['pid'], job['signal'])
            pid = job['pid']
        else:
            pid = fork(job)
        if 'kill_in' in job:
            time.sleep(job['kill_in'])
            os.kill(pid, signal.SIGKILL)
        answer(wait(pid))


if __name__ == '__main__':
    main()
