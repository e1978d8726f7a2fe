# SPDX-License-Identifier: Apache-2.0
"""Whose files Nova's are, and who reaches what."""

import contextlib
import grp
import os
import pwd
import stat

from tmpl_glance_store.options import nova as opts

_HYPERVISOR_USERS = 'libvirt-qemu', 'qemu'


class Ownership:
    """Knows Nova's user and group, and the one that guests run as.

    :param options: what the operator says of them; the rest is found out
    """

    def __init__(self, options: opts.NovaOptions) -> None:
        self._options = options

    def nova(self) -> tuple[int, int]:
        """Return (user, group) of nova-compute.

        :raises OSError: if instances_path has to be asked, and is not there
        """
        user, group = self._options.user, self._options.group
        if user is None or group is None:
            found = os.stat(self._options.instances_path)
            user = found.st_uid if user is None else user
            group = _group_of(user, found) if group is None else group
        return user, group

    def give(self, fd: int) -> None:
        """Give an open file to Nova, as far as the agent may.

        Without CAP_CHOWN only the group changes, and that only to one that
        the agent is in. What is of Nova's user needs no group.

        :raises OSError: if not even the group can be Nova's
        """
        user, group = self.nova()
        with contextlib.suppress(PermissionError):
            os.fchown(fd, user, group)
            return
        if os.fstat(fd).st_uid != user:
            os.fchown(fd, -1, group)

    def make_directory(self, path: str) -> None:
        """Make a directory of Nova's, unless it is there.

        A link to a directory of somebody else is refused, unless root has made
        it: the agent may have more rights than Nova's user.

        :raises OSError: if it cannot be made, or is not Nova's
        """
        try:
            os.mkdir(path)
        except FileExistsError:
            self._require_novas(path)
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchmod(fd, 0o775)
            self.give(fd)
        except BaseException:
            os.rmdir(path)
            raise
        finally:
            os.close(fd)

    def _require_novas(self, path: str) -> None:
        link = os.lstat(path)
        if stat.S_ISLNK(link.st_mode) and link.st_uid != 0:
            user = os.stat(path).st_uid
            if user != self.nova()[0]:
                raise PermissionError(
                    f'{path} is a link to a directory of user {user}, who is '
                    f"not Nova's ([nova] user), {self.nova()[0]}"
                )

    def readers(self) -> list['Person']:
        """Return who has to read base files: Nova, and the hypervisor."""
        user, group = self.nova()
        people = [Person.of(user, group)]
        hypervisor = self._options.hypervisor_user
        names = _HYPERVISOR_USERS if hypervisor is None else ()
        for name in names:
            with contextlib.suppress(KeyError):
                hypervisor = pwd.getpwnam(name).pw_uid
                break
        if hypervisor is not None:
            people.append(Person.of(hypervisor))
        return people


def _group_of(user: int, instances: os.stat_result) -> int:
    """Return the group of Nova's user, that of its directory if not known.

    In a container users have other names; and DevStack makes the directory
    with the group of root.
    """
    try:
        return pwd.getpwuid(user).pw_gid
    except KeyError:
        return instances.st_gid


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
