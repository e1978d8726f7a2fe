# SPDX-License-Identifier: Apache-2.0
"""All locations of this host."""

import logging
import threading
from collections.abc import Callable, Sequence

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import history
from tmpl_glance_store.localstore import attaching
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging
from tmpl_glance_store.options import locations as opts

LOG = logging.getLogger(__name__)


class LocalStore:
    """The locations of this host that can be used, and why others cannot.

    :param options: which they are, and how they are kept
    """

    def __init__(self, options: opts.Locations) -> None:
        self._options = options
        self._refused = dict.fromkeys(options.specs, 'not looked at yet')
        self._attached: dict[str, local.LocalLocation] = {}
        self._lock = threading.Lock()

    @property
    def locations(self) -> list[local.LocalLocation]:
        """The attached locations, in the order of the options."""
        return list(self._attached.values())

    @property
    def refused(self) -> list[str]:
        """The reasons why locations are not used."""
        return list(self._refused.values())

    def why_refused(self, path: str) -> str | None:
        """Return why the location at *path* is not used, None if it is."""
        return next(
            (why for spec, why in self._refused.items() if spec.path == path),
            None,
        )

    def attach(self, known: Sequence[objects.Location]) -> None:
        """Open the locations that are not open.

        A location that cannot be used is left out, with a log entry, and
        tried again by the next call: the others go on working.

        :param known: the locations that the catalog has
        """
        with self._lock:
            for spec in list(self._refused):
                try:
                    location = attaching.attach(spec, self._options, known)
                except exceptions.LocationRefused as exc:
                    if self._refused[spec] != str(exc):
                        LOG.error('Not used: %s', exc)
                    self._refused[spec] = str(exc)
                else:
                    del self._refused[spec]
                    self._attached[location.record.id] = location

    def memories(self) -> list[history.Seen]:
        """Return what this host's disks remember of the catalog."""
        return [
            seen
            for location in self.locations
            if (seen := location.memory) is not None
        ]

    def remember(self, seen: history.Seen) -> None:
        """Let this host's disks remember what was seen of the catalog.

        Not more than once a minute, unless it is another one or was accepted.
        """
        for location in self.locations:
            location.remember(seen)

    def get(self, location_id: str) -> local.LocalLocation | None:
        """Return an attached location by its id, or None."""
        return self._attached.get(location_id)

    def find(self, digest: str) -> local.LocalLocation | None:
        """Return a location that holds a copy of a template, or None."""
        return next(
            (
                location
                for location in self.locations
                if location.holds(digest)
            ),
            None,
        )

    def directory_of(self, digest: str) -> str | None:
        """Return the directory of a complete copy of a template, or None."""
        location = self.find(digest)
        return location.paths.copy(digest) if location else None

    def at(self, root: str) -> local.LocalLocation:
        """Return the attached location whose directory is *root*."""
        return next(
            location
            for location in self.locations
            if location.paths.root == root
        )

    def require_writable(self) -> None:
        """Make sure that at least one location can be written.

        :raises WriteDenied: if none can; says why for each
        """
        problems = list(self.refused)
        for location in self.locations:
            try:
                location.probe()
            except exceptions.NoSpace as exc:
                # A full disk is an error of uploads, not of the set-up.
                LOG.warning('Location %s: %s', location.paths.root, exc)
            except (exceptions.WriteDenied, OSError) as exc:
                problems.append(str(exc))
                continue
            return
        raise exceptions.WriteDenied('; '.join(problems))

    def problems(self) -> list[str]:
        """Return why locations cannot be used now."""
        return self.refused + [
            problem
            for location in self.locations
            if (problem := location.problem())
        ]

    def usable(
        self, size: int, staged: str
    ) -> Callable[[objects.Location], bool]:
        """Return a predicate: can this location take *size* bytes?

        The disks of other hosts are taken for usable: their agents see.

        :param staged: where the bytes are now: on the same file system they
            have their room already
        """

        def can_take(record: objects.Location) -> bool:
            location = self.get(record.id)
            if location is None:
                return True
            return location.problem() is None and location.has_room(
                0 if location.shares_disk(staged) else size
            )

        return can_take

    def stage(self, size: int) -> staging.Staged:
        """Begin to write a template of *size* bytes (0: unknown).

        :raises NoSpace: if no location has room
        :raises WriteDenied: if none can be written
        """
        problems: list[exceptions.TmplError] = []
        for location in self._by_preference(size):
            try:
                location.check()
                return location.stage()
            except (
                exceptions.LocationRefused,
                exceptions.NoSpace,
                exceptions.WriteDenied,
            ) as exc:
                LOG.warning('Not used for an upload: %s', exc)
                problems.append(exc)
        if any(not isinstance(each, exceptions.NoSpace) for each in problems):
            raise exceptions.WriteDenied('; '.join(map(str, problems)))
        raise self.nowhere(size)

    def nowhere(self, size: int) -> exceptions.TmplError:
        """Return why no location takes *size* bytes."""
        problems = self.problems()
        if any(
            location.record.tier != objects.STAGING
            and location.problem() is None
            for location in self.locations
        ):
            return exceptions.NoSpace(
                '; '.join(
                    (
                        f'no location has room for {size} bytes over its '
                        f'reserve; delete images, or add a location '
                        f'(tmpl_store_locations)',
                        *problems,
                    )
                )
            )
        return exceptions.WriteDenied('; '.join(problems))

    def _by_preference(self, size: int) -> list[local.LocalLocation]:
        """Return the locations with room: staging first, then the freest."""

        def preference(location: local.LocalLocation) -> tuple[bool, int]:
            return (location.record.tier == objects.STAGING, location.free())

        return sorted(
            (
                location
                for location in self.locations
                if location.has_room(size)
                and location.record.state == objects.ACTIVE
            ),
            key=preference,
            reverse=True,
        )
