# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all lanes."""

import contextlib
import ctypes
import pathlib
from collections.abc import Iterator

import pytest

from harness.host import Host
from tmpl_glance_store import factory

_CAPABILITIES_V3 = 0x20080522
_OVERRIDE_MODES = 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class Forbid:
    """Call it with a directory; :meth:`lift` gives the rights back."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def __call__(self, path: pathlib.Path, mode: int = 0o555) -> None:
        self._stack.callback(path.chmod, path.stat().st_mode & 0o7777)
        path.chmod(mode)

    def lift(self) -> None:
        """Give the rights back."""
        self._stack.close()


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    """A node with three SSDs."""
    return Host(tmp_path)


@pytest.fixture
def parts(host: Host) -> factory.Parts:
    """The repository of the host."""
    return host.parts()


@pytest.fixture
def modes_matter() -> Iterator[None]:
    """Let the modes of files bind this thread, and its own, even as root."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    # Effective, permitted and inheritable, the low and the high half.
    sets = (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    before = sets[0]
    sets[0] &= ~_OVERRIDE_MODES
    assert libc.capset(header, sets) == 0
    yield
    sets[0] = before
    libc.capset(header, sets)


@pytest.fixture
def forbid(modes_matter: None) -> Iterator[Forbid]:
    """Take the right to write directories away, until the test ends."""
    with contextlib.ExitStack() as stack:
        yield Forbid(stack)
