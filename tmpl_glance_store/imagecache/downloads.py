# SPDX-License-Identifier: Apache-2.0
"""Notices which base files Nova downloads itself.

What is being downloaded has the suffix ``.part``; a small image has it for a
moment only, so base files that have just appeared count as well.

Source: ``fetch_to_raw`` in nova/virt/images.py.
"""

import os
import re
import threading

_PART = '.part'
_BASE = re.compile('[0-9a-f]{40}')


class Downloads:
    """The downloads into Nova's directory of base files.

    Any thread may call.

    :param directory: of the base files
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._mutex = threading.Lock()
        self._running: frozenset[str] = frozenset()
        self._there: frozenset[str] | None = None
        self._appeared: frozenset[str] = frozenset()

    def look(self) -> bool:
        """Look again; return whether there is anything new."""
        try:
            names = os.listdir(self._directory)
        except OSError:
            return False
        there = frozenset(name for name in names if _BASE.fullmatch(name))
        # Beside a base file it is what an end of Nova has left.
        running = frozenset(
            name.removesuffix(_PART) for name in names if name.endswith(_PART)
        ).difference(there)
        with self._mutex:
            # What is there at the first look may have been there for long.
            new = there - (there if self._there is None else self._there)
            begun = running - self._running
            self._running, self._there = running, there
            self._appeared = (self._appeared & there) | new
            return bool(begun | new)

    def take(self, names: frozenset[str]) -> frozenset[str]:
        """Return which of *names* Nova downloads, or has just downloaded.

        The latter are told once.
        """
        self.look()
        with self._mutex:
            taken = names & (self._running | self._appeared)
            self._appeared -= taken
            return taken
