# SPDX-License-Identifier: Apache-2.0
"""Makes templates fit to be published, away from the reconcile loop.

Inspections take a moment, conversions and copies minutes: they run on threads
of their own, so that a template that takes long, or is hostile, stops nobody.
"""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable

from tmpl_glance_store import exceptions
from tmpl_glance_store.disk_images import conversion
from tmpl_glance_store.disk_images import derived
from tmpl_glance_store.disk_images import formats
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import crew
from tmpl_glance_store.imagecache import jobs
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache.prepared import Held
from tmpl_glance_store.imagecache.prepared import Prepared

LOG = logging.getLogger(__name__)


class Preparation:
    """The jobs of this node.

    :param force_raw: whether base files are to be raw
    :param max_virtual_size: bytes that the disk in an image may have
    :param concurrency: conversions and copies at a time
    :param ended: called whenever a job has ended, in whichever way
    """

    def __init__(
        self,
        *,
        force_raw: bool,
        max_virtual_size: int,
        concurrency: int,
        linker: linking.Linker,
        ended: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._force_raw = force_raw
        self._max_virtual_size = max_virtual_size
        self._linker = linker
        self._ended = ended
        self._clock = clock
        self._jobs: dict[str, jobs.Job] = {}
        self._stopped = threading.Event()
        self._inspectors = crew.Crew('inspect', 1)
        self._workers = crew.Crew('convert', concurrency)

    def get(self, held: Held) -> Prepared | None:
        """Return what to publish for a template, None while it is made.

        :raises Refused: if it must not be published
        :raises TmplError: if it could not be made; it is tried again
        """
        job = self._jobs.get(held.digest)
        if job is None or not job.serves(held, self._clock()):
            if job is not None:
                job.cancel()
            job = jobs.Job(held, job, self._stopped)
            self._jobs[held.digest] = job
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
        self,
        workers: crew.Crew,
        step: Callable[[jobs.Job], bool],
        job: jobs.Job,
    ) -> None:
        def work() -> None:
            try:
                job.check()
                if step(job):
                    return  # to be continued
            except (exceptions.TmplError, OSError) as exc:
                job.fail(exc, self._clock())
            except Exception as exc:  # hostile input: the agent lives on
                LOG.exception('Template %s', job.held.digest)
                job.fail(exc, self._clock())
            self._ended()

        # Small ones first: a disk of many TiB must not hinder them for hours.
        workers.put(
            job.found.virtual_size if job.found is not None else 0, work
        )

    def _inspect(self, job: jobs.Job) -> bool:
        """Find out what there is to do; whether it is to be continued."""
        found = self._look(job.held)
        job.source = self._source(job.held, found)
        if job.source is not None and not self._linker.copies:
            job.prepared = job.source
            return False
        job.found = found
        self._submit(self._workers, self._make, job)
        return True

    def _look(self, held: Held) -> inspection.Inspected:
        try:
            return inspection.inspect(
                held.copy.image, held.template.format, self._max_virtual_size
            )
        except inspection.TooLarge as exc:
            raise inspection.Refused(
                f'{exc} ([nova] max_virtual_size)'
            ) from exc

    def _source(
        self, held: Held, found: inspection.Inspected
    ) -> Prepared | None:
        """Return the file to publish, None if it has to be made."""
        if not self._force_raw or found.format == formats.RAW:
            return Prepared(
                held.copy.image, held.digest, held.template.size, False
            )
        made = derived.find(held.copy)
        return _converted(held, made) if made is not None else None

    def _make(self, job: jobs.Job) -> bool:
        if job.source is None:
            job.source = self._convert(job)
            job.percentage = None
        job.prepared = (
            self._copy(job, job.source) if self._linker.copies else job.source
        )
        job.drop_if_cancelled()
        return False

    @staticmethod
    def _convert(job: jobs.Job) -> Prepared:
        assert job.found is not None
        LOG.info('Template %s is being converted to raw', job.held.digest)
        made = conversion.convert(
            job.held.copy,
            job.held.workshop,
            job.held.digest,
            job.found,
            progress=job.tell,
            check=job.check_conversion,
        )
        return _converted(job.held, made)

    def _copy(self, job: jobs.Job, source: Prepared) -> Prepared:
        way, temp = self._linker.copy(source.path, job.check)
        return dataclasses.replace(source, temporary=temp, way=way)


def _converted(held: Held, made: derived.Derived) -> Prepared:
    return Prepared(held.copy.base, made.digest, made.size, True)
