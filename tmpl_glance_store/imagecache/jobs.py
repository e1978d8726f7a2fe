# SPDX-License-Identifier: Apache-2.0
"""The state of one template's preparation; two threads share it."""

import os
import threading

from tmpl_glance_store import exceptions
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache.prepared import Held
from tmpl_glance_store.imagecache.prepared import Prepared

# Seconds after which what failed is tried again: twice as many each time.
_RETRY, _MAX_RETRY = 60, 3600
_MARGIN = 64 << 20  # bytes that are written between two looks at the room


class Job:
    """What has become of a template so far.

    ``found`` is known after its inspection, ``source`` is the file to
    publish, ``prepared`` that file or a copy of it, when all is done;
    ``percentage`` is that of a conversion under way.

    :param failed: the job before this one
    :param stopped: set when the agent ends
    """

    def __init__(
        self,
        held: Held,
        failed: 'Job | None' = None,
        stopped: threading.Event | None = None,
    ) -> None:
        self.held = held
        self.pause: float = (
            _RETRY
            if failed is None or failed.error is None
            else min(2 * failed.pause, _MAX_RETRY)
        )
        self.found: inspection.Inspected | None = None
        self.source: Prepared | None = None
        self.prepared: Prepared | None = None
        self.error: exceptions.TmplError | None = None
        self.failed_at = 0.0
        self.percentage: float | None = None
        self._stopped = stopped or threading.Event()
        self._cancelled = False

    @property
    def is_to_be_redone(self) -> bool:
        """Whether it failed, but may succeed some other time."""
        return self.error is not None and not isinstance(
            self.error, inspection.Refused
        )

    def serves(self, held: Held, now: float) -> bool:
        """Tell whether this job's outcome, or its work, is still good."""
        if self.held.directory != held.directory:
            return False  # the copy has moved
        if self.is_to_be_redone:
            return now - self.failed_at < self.pause
        if self.prepared is not None:
            return os.path.exists(
                self.prepared.temporary or self.prepared.path
            )
        return True

    def tell(self, percentage: float) -> None:
        """Note how far a conversion is."""
        self.percentage = percentage

    def check(self) -> None:
        """Go on, if this job is still wanted.

        :raises Unavailable: if not
        """
        if self._cancelled or self._stopped.is_set():
            raise exceptions.Unavailable('it is not wanted any more')

    def check_conversion(self) -> None:
        """Go on, if this job is still wanted, and has the room.

        :raises Unavailable: if it is not wanted
        :raises NoSpace: if it has no room
        """
        self.check()
        if not self.held.has_room(_MARGIN):
            raise exceptions.NoSpace(
                f'{self.held.root} has no room for a conversion'
            )

    def fail(self, exc: Exception, now: float) -> None:
        """Note that this job has failed."""
        self.failed_at = now
        self.percentage = None
        if not isinstance(exc, exceptions.TmplError):
            exc = exceptions.Unavailable(f'{type(exc).__name__}: {exc}')
        self.error = exc

    def cancel(self) -> None:
        """Note that nobody wants this job any more; it ends soon."""
        self._cancelled = True
        self.drop_if_cancelled()

    def drop_if_cancelled(self) -> None:
        """Remove the copy: whoever of two threads comes last finds it."""
        if (
            self._cancelled
            and self.prepared is not None
            and self.prepared.temporary
        ):
            linking.remove(self.prepared.temporary)
