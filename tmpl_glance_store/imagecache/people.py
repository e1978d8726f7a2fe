# SPDX-License-Identifier: Apache-2.0
"""Which user reaches which file."""

import contextlib
import grp
import os
import pwd
import stat


class Person:
    """A user with all groups."""

    def __init__(self, name: str, user: int, groups: frozenset[int]) -> None:
        self.name = name
        self._user = user
        self._groups = groups

    @classmethod
    def of(cls, user: int, group: int | None = None) -> 'Person':
        """Return who has the number *user*, known to this host or not."""
        groups = set() if group is None else {group}
        try:
            known = pwd.getpwuid(user)
        except KeyError:
            return cls(str(user), user, frozenset(groups))
        groups |= set(os.getgrouplist(known.pw_name, known.pw_gid))
        return cls(known.pw_name, user, frozenset(groups))

    def obstacle(self, path: str) -> str | None:
        """Return what keeps this user from reading *path*, if something does.

        Goes by the modes of the directories on the way, links followed, and
        of the file. Where somebody has set an access list, nothing is known,
        and nothing is said.
        """
        if self._user == 0:
            return None
        path = os.path.realpath(path)
        directory = os.path.dirname(path)
        while True:
            if not self._may(directory, stat.S_IXOTH):
                return (
                    f'{self.name} cannot enter {directory}{_owner(directory)}'
                )
            if directory == '/':
                break
            directory = os.path.dirname(directory)
        if not self._may(path, stat.S_IROTH):
            return f'{self.name} cannot read {path}{_owner(path)}'
        return None

    def _may(self, path: str, right: int) -> bool:
        found = os.stat(path)
        if self._user == found.st_uid:
            right <<= 6
        elif found.st_gid in self._groups:
            right <<= 3
        if found.st_mode & right:
            return True
        try:
            return bool(os.getxattr(path, 'system.posix_acl_access'))
        except OSError:
            return False


def _owner(path: str) -> str:
    found = os.stat(path)
    group = str(found.st_gid)
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(found.st_gid).gr_name
    return f' ({stat.filemode(found.st_mode)}, group {group})'
