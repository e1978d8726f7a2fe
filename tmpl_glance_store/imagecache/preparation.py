# SPDX-License-Identifier: Apache-2.0
"""Makes templates fit to be published, away from the reconcile loop.

Inspections take a moment, conversions and copies minutes: they run on threads
of their own, so that a template that takes long, or is hostile, stops nobody.
"""

import dataclasses
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.disk_images import conversion
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.options import nova as opts

LOG = logging.getLogger(__name__)

# Seconds after which what failed is tried again: twice as many each time.
_RETRY, _MAX_RETRY = 60, 3600
_MARGIN = 64 << 20  # bytes that are written between two looks at the room


@dataclasses.dataclass(frozen=True)
class Held:
    """A template with a copy on this node, and its images.

    ``root`` is the directory of the location, ``directory`` the copy's;
    ``has_room`` tells whether the location can take so many more bytes.
    """

    template: objects.Template
    images: tuple[str, ...]
    root: str
    directory: str
    has_room: Callable[[int], bool]

    @property
    def digest(self) -> str:
        """The digest of the template."""
        return self.template.digest

    @property
    def image(self) -> str:
        """The file with the template's bytes."""
        return os.path.join(self.directory, 'image')


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A file that may be published.

    ``content`` is the digest of what is in it, ``size`` its length in bytes;
    ``temporary`` is a copy of it in Nova's directory, if that is the mode, and
    ``way`` says how that was made.
    """

    path: str
    content: str
    size: int
    converted: bool
    temporary: str = ''
    way: str = ''


class Preparation:
    """The jobs of this node.

    :param ended: called whenever a job has ended, in whichever way
    """

    def __init__(
        self,
        options: opts.NovaOptions,
        linker: linking.Linker,
        ended: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._linker = linker
        self._ended = ended
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._stopped = threading.Event()
        self._inspectors = _Crew('inspect', 1)
        self._workers = _Crew('convert', options.convert_concurrency)

    def get(self, held: Held) -> Prepared | None:
        """Return what to publish for a template, None while it is made.

        :raises Refused: if it must not be published
        :raises TmplError: if it could not be made; it is tried again
        """
        job = self._jobs.get(held.digest)
        if job is None or not job.serves(held, self._clock()):
            if job is not None:
                job.cancel()
            job = self._jobs[held.digest] = _Job(held, job)
            self._submit(self._inspectors, self._inspect, job)
        if job.error is not None:
            raise job.error
        return job.prepared

    def keep_only(self, digests: Iterable[str]) -> None:
        """Cancel the jobs of all other templates, and forget them."""
        for digest in self._jobs.keys() - set(digests):
            self._jobs.pop(digest).cancel()

    def progress(self, digest: str) -> float | None:
        """Return the percentage of a conversion that is under way."""
        job = self._jobs.get(digest)
        return job.percentage if job is not None else None

    def next_change(self) -> float | None:
        """Return the seconds until something failed is tried again."""
        times = [
            job.failed_at + job.pause - self._clock()
            for job in list(self._jobs.values())
            if job.is_to_be_redone
        ]
        return max(min(times), 0) if times else None

    def close(self) -> None:
        """Break all jobs off."""
        self._stopped.set()
        self.keep_only(())

    # On the threads of the crews

    def _submit(
        self, crew: '_Crew', step: Callable[['_Job'], bool], job: '_Job'
    ) -> None:
        def work() -> None:
            try:
                job.check(self._stopped)
                if step(job):
                    return  # to be continued
            except (exceptions.TmplError, OSError) as exc:
                job.fail(exc, self._clock())
            except Exception as exc:  # hostile input: the agent lives on
                LOG.exception('Template %s', job.held.digest)
                job.fail(exc, self._clock())
            self._ended()

        # Small ones first: a disk of many TiB must not hinder them for hours.
        crew.put(job.found.virtual_size if job.found is not None else 0, work)

    def _inspect(self, job: '_Job') -> bool:
        held = job.held
        found = inspection.inspect(
            held.image, held.template.format, self._options.max_virtual_size
        )
        convert = self._options.force_raw and found.format != inspection.RAW
        if not convert:
            job.source = Prepared(
                held.image, held.digest, held.template.size, False
            )
        elif (derived := conversion.find(held.directory)) is not None:
            job.source = _converted(held, derived)
        if job.source is not None and not self._linker.copies:
            job.prepared = job.source
            return False
        job.found = found
        self._submit(self._workers, self._make, job)
        return True

    def _make(self, job: '_Job') -> bool:
        held = job.held
        if job.source is None:
            assert job.found is not None
            LOG.info('Template %s is being converted to raw', held.digest)
            job.source = _converted(
                held,
                conversion.convert(
                    held.directory,
                    os.path.join(held.root, 'incoming', f'raw-{held.digest}'),
                    held.digest,
                    job.found.format,
                    job.found.virtual_size,
                    progress=job.tell,
                    check=lambda: job.check_conversion(self._stopped),
                ),
            )
            job.percentage = None
        if self._linker.copies:
            way, temp = self._linker.copy(
                job.source.path, lambda: job.check(self._stopped)
            )
            job.prepared = dataclasses.replace(
                job.source, temporary=temp, way=way
            )
            job.drop_if_cancelled()
        else:
            job.prepared = job.source
        return False


class _Crew:
    """Threads that take the least work first, and end with the process.

    Those of concurrent.futures would keep it until a qemu-img is done.
    """

    def __init__(self, name: str, size: int) -> None:
        self._work: queue.PriorityQueue[
            tuple[int, int, Callable[[], None]]
        ] = queue.PriorityQueue()
        self._count = itertools.count()
        for number in range(size):
            threading.Thread(
                target=self._run, name=f'{name}-{number}', daemon=True
            ).start()

    def put(self, size: int, work: Callable[[], None]) -> None:
        """Let the next one who is free do *work*, if it is the least."""
        self._work.put((size, next(self._count), work))

    def _run(self) -> None:
        while True:
            _, _, work = self._work.get()
            work()


class _Job:
    def __init__(self, held: Held, failed: '_Job | None' = None) -> None:
        self.held = held
        self.pause = (
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
        self._cancelled = False

    @property
    def is_to_be_redone(self) -> bool:
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
        self.percentage = percentage

    def check(self, stopped: threading.Event) -> None:
        """Raise if this job is not wanted any more."""
        if self._cancelled or stopped.is_set():
            raise exceptions.Unavailable('it is not wanted any more')

    def check_conversion(self, stopped: threading.Event) -> None:
        """Raise if it is not wanted any more, or lacks the room."""
        self.check(stopped)
        if not self.held.has_room(_MARGIN):
            raise exceptions.NoSpace(
                f'{self.held.root} has no room for a conversion'
            )

    def fail(self, exc: Exception, now: float) -> None:
        self.failed_at = now
        self.percentage = None
        if not isinstance(exc, exceptions.TmplError):
            exc = exceptions.Unavailable(f'{type(exc).__name__}: {exc}')
        self.error = exc

    def cancel(self) -> None:
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


def _converted(held: Held, derived: conversion.Derived) -> Prepared:
    return Prepared(
        conversion.path_in(held.directory), derived.digest, derived.size, True
    )
