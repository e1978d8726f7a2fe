# SPDX-License-Identifier: Apache-2.0
"""Where programs are, and on which ports they can listen."""

import contextlib
import errno
import os
import pathlib
import random
import shutil
import socket
import sys


def free_port() -> int:
    """Return a TCP port that is free on the loopback interface.

    Not one of those that the kernel gives to clients: while its etcd is
    stopped, a client that tries to connect might be given that very port, and
    would then find itself.
    """
    text = pathlib.Path('/proc/sys/net/ipv4/ip_local_port_range').read_text()
    first = int(text.split()[0])
    for port in random.SystemRandom().sample(range(first // 3, first), 100):
        with (
            contextlib.suppress(OSError),
            socket.create_server(('127.0.0.1', port)),
        ):
            return port
    raise OSError(errno.EADDRINUSE, 'there is no free port')


def program(name: str) -> str:
    """Return the path of *name*: of this virtualenv first, then of PATH.

    :raises FileNotFoundError: if there is no such program
    """
    own = str(pathlib.Path(sys.executable).parent)
    path = os.pathsep.join(
        [own, os.environ.get('PATH', os.defpath), '/usr/sbin', '/sbin']
    )
    found = shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(f'the program {name} is not installed')
    return found
