# SPDX-License-Identifier: Apache-2.0
"""Whose Nova's files are."""

import contextlib
import os
import pwd
import stat

from tmpl_glance_store.imagecache.people import Person

_HYPERVISOR_USERS = 'libvirt-qemu', 'qemu'


class Ownership:
    """Knows Nova's user and group, and the one that guests run as.

    Numbers all; what the operator does not say (None) is found out.

    :param user: of nova-compute
    :param group: the same
    :param hypervisor: the user of guests
    """

    def __init__(
        self,
        instances_path: str,
        *,
        user: int | None = None,
        group: int | None = None,
        hypervisor: int | None = None,
    ) -> None:
        self._instances_path = instances_path
        self._user = user
        self._group = group
        self._hypervisor = hypervisor

    def nova(self) -> tuple[int, int]:
        """Return (user, group) of nova-compute.

        :raises OSError: if instances_path has to be asked, and is not there
        """
        user, group = self._user, self._group
        if user is None or group is None:
            found = os.stat(self._instances_path)
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

    def readers(self) -> list[Person]:
        """Return who has to read base files: Nova, and the hypervisor."""
        user, group = self.nova()
        people = [Person.of(user, group)]
        hypervisor = self._hypervisor
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
