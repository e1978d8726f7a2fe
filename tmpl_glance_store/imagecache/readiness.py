# SPDX-License-Identifier: Apache-2.0
"""Whether anything can be published on this node now."""

import os
from collections.abc import Callable, Iterable, Sequence

from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store.imagecache import entries
from tmpl_glance_store.imagecache import ownership


class Readiness:
    """Looks at Nova's directories, which are not ours to keep in order.

    :param directory: of the base files; made if only that is missing
    :param clean: what removes the leavings of a crash there; called once
    """

    def __init__(
        self,
        instances_path: str,
        directory: str,
        owner: ownership.Ownership,
        clean: Sequence[Callable[[], None]],
    ) -> None:
        self._instances_path = instances_path
        self._directory = directory
        self._owner = owner
        self._clean = clean
        self._cleaned = False

    def problem(self, known: Iterable[entries.Entry]) -> str | None:
        """Return why nothing can be published, None if something can.

        :param known: of the base files in Nova's directory
        """
        if not os.path.isdir(self._instances_path):
            return (
                f'{self._instances_path} is not there; is nova-compute '
                f'installed here?'
            )
        mount = fsutil.mount_point(self._directory)
        for entry in known:
            if entry.is_hidden(mount):
                return (
                    f'{entry.mount} is not mounted, where base files are. '
                    f'If it is not to be any more, remove the directory '
                    f'{layout.PUBLISHED} in each location, and restart'
                )
        try:
            return self._prepare()
        except OSError as exc:
            return f'{self._directory}: {exc}'

    def _prepare(self) -> str | None:
        self._owner.make_directory(self._directory)
        if os.statvfs(self._directory).f_flag & os.ST_RDONLY:
            return f'{self._directory} is on a read-only file system'
        if not self._cleaned:
            for each in self._clean:
                each()
            self._cleaned = True
        return None
