# SPDX-License-Identifier: Apache-2.0
"""Nova's lock of a base file, as another process sees it."""

import subprocess
import sys

from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import opened
from tests.unit.imagecache.parts import owner_of
from tmpl_glance_store.imagecache import guards
from tmpl_glance_store.imagecache import locks


def guards_of(instances, timeout=60.0, clock=None, **numbers):
    times = {} if clock is None else {'clock': clock}
    made = guards.Guards(
        locks.Locks(str(instances), owner_of(instances, **numbers)),
        timeout,
        **times,
    )
    opened.append(made)
    return made


def lock_file(instances):
    return instances / 'locks' / f'nova-{NAME}'


def is_free(instances):
    """Tell whether another process could take the lock."""
    return not subprocess.run(
        [
            sys.executable,
            '-c',
            (
                'import fcntl, sys\n'
                'fcntl.lockf(open(sys.argv[1], "a"), '
                'fcntl.LOCK_EX | fcntl.LOCK_NB)'
            ),
            lock_file(instances),
        ],
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode


def wait_until_free(instances):
    """Wait for the lock, as a boot does."""
    subprocess.run(
        [
            sys.executable,
            '-c',
            (
                'import fcntl, sys\n'
                'fcntl.lockf(open(sys.argv[1], "a"), fcntl.LOCK_EX)'
            ),
            lock_file(instances),
        ],
        check=True,
        timeout=30,
    )
