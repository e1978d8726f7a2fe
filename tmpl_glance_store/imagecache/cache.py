# SPDX-License-Identifier: Apache-2.0
"""The image cache as it should be: one pass over the templates of a node.

A pass settles each image of a template that is here, lets boots wait for what
comes, looks back at the base files that nobody asks for any more, and returns
an :class:`~tmpl_glance_store.imagecache.outcome.Outcome`. What is to be done
about one base file is said in ``decision``; here it is done. One decision at a
time, since Nova may change any of these files at any moment.
"""

import logging
import os
import time
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)

from tmpl_glance_store.imagecache import books
from tmpl_glance_store.imagecache import boots
from tmpl_glance_store.imagecache import decision
from tmpl_glance_store.imagecache import downloads
from tmpl_glance_store.imagecache import entries
from tmpl_glance_store.imagecache import facts
from tmpl_glance_store.imagecache import guards
from tmpl_glance_store.imagecache import instances
from tmpl_glance_store.imagecache import ledger
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache import locks
from tmpl_glance_store.imagecache import outliving
from tmpl_glance_store.imagecache import ownership
from tmpl_glance_store.imagecache import preparation
from tmpl_glance_store.imagecache import proofs
from tmpl_glance_store.imagecache import publication
from tmpl_glance_store.imagecache import readiness
from tmpl_glance_store.imagecache import settling
from tmpl_glance_store.imagecache import states
from tmpl_glance_store.imagecache.outcome import Outcome
from tmpl_glance_store.imagecache.prepared import Held
from tmpl_glance_store.imagecache.states import State
from tmpl_glance_store.options import nova as opts

LOG = logging.getLogger(__name__)

# The states in which what has been prepared for an image is of no use.
_SETTLED = states.PUBLISHED, states.FOREIGN, states.DAMAGED, states.STALE


class ImageCache:
    """Publishes the templates that this node holds.

    One thread calls :meth:`run`; any may call the rest.

    :param ended: called when something has changed that :meth:`run` waits for
    :param clock: as ``time.time``
    """

    def __init__(
        self,
        options: opts.NovaOptions,
        ended: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = options.base_directory
        self._fetch_on_boot = options.fetch_on_boot
        self._clock = clock
        self._rules = decision.Rules(
            complete_clones=options.complete_clones,
            force_raw=options.force_raw,
            keep_original=options.keep_original,
            touch_interval=options.touch_interval,
        )
        owner = ownership.Ownership(
            options.instances_path,
            user=options.user,
            group=options.group,
            hypervisor=options.hypervisor_user,
        )
        linker = linking.Linker(
            options.base_directory,
            options.publish,
            options.mode,
            owner,
            links=not options.complete_clones,
        )
        self._preparation = preparation.Preparation(
            force_raw=options.force_raw,
            max_virtual_size=options.max_virtual_size,
            concurrency=options.convert_concurrency,
            linker=linker,
            ended=ended,
        )
        nova_locks = locks.Locks(options.instances_path, owner)
        self._guards = guards.Guards(nova_locks, options.lock_timeout)
        self._boots = boots.Boots(options.base_directory, self._guards)
        self._readiness = readiness.Readiness(
            options.instances_path,
            options.base_directory,
            owner,
            clean=(linker.clean, nova_locks.clean),
        )
        self._books = books.Books(options.base_directory)
        self._settling = settling.Settling(
            options.base_directory,
            rules=self._rules,
            books=self._books,
            preparation=self._preparation,
            publication=publication.Publication(
                linker, self._guards, owner, clock
            ),
            clock=clock,
        )
        self._outliving = outliving.Outliving(
            options.base_directory,
            rules=self._rules,
            books=self._books,
            clock=clock,
        )
        self._downloads = downloads.Downloads(options.base_directory)
        self._instances = instances.Instances(options.instances_path)
        #: Of the last pass.
        self.outcome = Outcome()

    def run(
        self,
        held: Sequence[Held],
        arriving: Mapping[str, Collection[str]],
        failed: Collection[str],
        images: Mapping[str, str],
        roots: Iterable[str],
    ) -> Outcome:
        """Make one pass.

        :param held: the templates of this node that have images
        :param arriving: images of the templates on their way, by digest
        :param failed: digests whose transfer has failed
        :param images: the digests of all images that live, by their ids
        :param roots: the directories of the locations that are there
        """
        with self._books.mutex:
            self._books.open(roots)
            problem = self._readiness.problem(self._books.entries())
            seen = {
                each.image_id: each
                for each in self._settling.settle(held, problem)
            }
            seen |= {
                each.image_id: each
                for each in self._boots.expect(arriving, failed, problem)
                if each.image_id not in seen
            }
            self._preparation.keep_only(
                each.digest
                for each in seen.values()
                if each.state not in _SETTLED
            )
            self._boots.settle(seen.values(), images)
            seen |= self._outliving.look_back(seen, images)
            _tell(seen, self.outcome.states)
            self.outcome = self._outcome(seen)
            return self.outcome

    def close(self) -> None:
        """Let waiting boots go on, and break conversions off."""
        self._guards.close()
        self._preparation.close()

    # What others want to know

    def _outcome(self, seen: Mapping[str, State]) -> Outcome:
        converted = {
            image_id
            for image_id in seen
            if (entry := self._books.find(facts.base_name(image_id)))
            and entry.converted
        }
        return Outcome.of(
            seen,
            frozenset() if self._rules.keep_original else converted,
            self._preparation.next_change(),
        )

    def base_files(self) -> list[states.BaseFile]:
        """Return what there is to know of the images' base files now."""
        # Without the mutex: a pass may hang with Nova's disk.
        by_base = self._instances.by_base()
        return [
            self._describe(each, by_base)
            for _, each in sorted(self.outcome.states.items())
        ]

    def _describe(
        self, state: State, by_base: Mapping[str, Sequence[str]]
    ) -> states.BaseFile:
        name = facts.base_name(state.image_id)
        entry = self._books.find(name)
        return states.BaseFile(
            image=state.image_id,
            digest=state.digest,
            state=state.state,
            reason=self._progress(state) or state.reason,
            base_file=os.path.join(self._directory, name),
            mode=entry.mode if entry is not None else None,
            converted=entry is not None and entry.converted,
            boots_wait=name in self._guards.guarded,
            instances=tuple(by_base.get(name, ())),
        )

    def _progress(self, state: State) -> str:
        """Return how far an image is that is in preparation."""
        if state.state != states.PREPARING:
            return ''
        percentage = self._preparation.progress(state.digest)
        return (
            f'{percentage:.0f} % converted to raw'
            if percentage is not None
            else ''
        )

    # Boots elsewhere

    def take_downloads(self, images: Iterable[str]) -> frozenset[str]:
        """Return which of *images* Nova downloads, or has just downloaded.

        The latter are told once: who calls this has to remember them.
        """
        if not self._fetch_on_boot:
            return frozenset()
        names = {facts.base_name(each): each for each in images}
        return frozenset(
            names[each] for each in self._downloads.take(frozenset(names))
        )

    def downloads_began(self) -> bool:
        """Tell whether Nova has begun a download since the last call."""
        return self._fetch_on_boot and self._downloads.look()

    # Proofs

    def due(self, period: float) -> Iterator[proofs.Proof]:
        """Yield the files to prove: base files, and conversions.

        :param period: seconds after which a file is due again
        """
        return proofs.due(
            self._books.by_root, self._clock() - period, self._judge
        )

    def _judge(
        self, book: ledger.Ledger, entry: entries.Entry, good: bool
    ) -> None:
        """Note whether a base file has been proved, or found damaged."""
        self._books.judge(book, entry, good, self._clock())
        if not good:
            names = self._instances.by_base().get(entry.name, ())
            LOG.error(
                'Base file %s is damaged; instances on it: %s',
                entry.path,
                ', '.join(names) or 'none',
            )


def _tell(seen: Mapping[str, State], before: Mapping[str, State]) -> None:
    for image_id, state in seen.items():
        if state.state in states.PROBLEMS and state != before.get(image_id):
            LOG.warning(
                'Image %s (template %s) is not published: %s',
                image_id,
                state.digest,
                state.reason,
            )
