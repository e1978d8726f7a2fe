# SPDX-License-Identifier: Apache-2.0
"""Runs a command under the system call filter that a unit file asks for.

``sandbox.py UNIT COMMAND...`` stands for systemd, which these tests do not
have: ``SystemCallFilter``, ``RestrictAddressFamilies`` and
``MemoryDenyWriteExecute``, as systemd.exec(5) describes them.
"""

import configparser
import errno
import os
import re
import socket
import subprocess
import sys

import pyseccomp

_PROT_WRITE, _PROT_EXEC = 2, 4


def main() -> None:
    """Become the command."""
    service = read(sys.argv[1])
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in members(service['SystemCallFilter']):
        allow(rules, name, service)
    rules.load()
    os.execvp(sys.argv[2], sys.argv[2:])


def read(path: str) -> dict[str, str]:
    """Return the section [Service]; of what is there twice, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return dict(parser['Service'])


def members(group: str) -> set[str]:
    """Return the system calls of a group, and those of groups in it."""
    found: set[str] = set()
    for name in re.findall(
        r'^    ([@\w-]+)$',
        subprocess.run(
            ['systemd-analyze', 'syscall-filter', group],
            text=True,
            check=True,
            capture_output=True,
        ).stdout,
        re.MULTILINE,
    ):
        found |= members(name) if name.startswith('@') else {name}
    return found


def allow(
    rules: pyseccomp.SyscallFilter, name: str, service: dict[str, str]
) -> None:
    """Allow a system call, with the arguments that the unit leaves to it."""
    if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) < 0:
        return  # of another architecture
    for arguments in choices(name, service):
        rules.add_rule(pyseccomp.ALLOW, name, *arguments)


def choices(name: str, service: dict[str, str]) -> list[list[pyseccomp.Arg]]:
    """Return the allowed combinations of arguments."""
    if name == 'socket' and 'RestrictAddressFamilies' in service:
        return [
            [pyseccomp.Arg(0, pyseccomp.EQ, getattr(socket, family))]
            for family in service['RestrictAddressFamilies'].split()
        ]
    if service.get('MemoryDenyWriteExecute') == 'yes':
        both = _PROT_WRITE | _PROT_EXEC
        if name == 'mmap':
            return [
                [pyseccomp.Arg(2, pyseccomp.MASKED_EQ, both, allowed)]
                for allowed in (0, _PROT_WRITE, _PROT_EXEC)
            ]
        if name in ('mprotect', 'pkey_mprotect'):
            return [[pyseccomp.Arg(2, pyseccomp.MASKED_EQ, _PROT_EXEC, 0)]]
    return [[]]


if __name__ == '__main__':
    main()
