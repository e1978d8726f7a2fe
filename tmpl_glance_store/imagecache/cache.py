# SPDX-License-Identifier: Apache-2.0
"""The image cache as it should be: one pass over the templates of a node.

Plan apart from act does not fit here: what is to be done depends on one
``lstat`` and one lock a file, both of which Nova may change at any moment.
"""

import dataclasses
import hashlib
import logging
import os
import threading
import time
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store.disk_images import conversion
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import downloads
from tmpl_glance_store.imagecache import instances
from tmpl_glance_store.imagecache import ledger
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache import locks
from tmpl_glance_store.imagecache import outcome
from tmpl_glance_store.imagecache import ownership
from tmpl_glance_store.imagecache import preparation
from tmpl_glance_store.imagecache import proofs
from tmpl_glance_store.imagecache import publication
from tmpl_glance_store.imagecache.preparation import Held
from tmpl_glance_store.imagecache.states import ARRIVING
from tmpl_glance_store.imagecache.states import DAMAGED
from tmpl_glance_store.imagecache.states import FAILED
from tmpl_glance_store.imagecache.states import FOREIGN
from tmpl_glance_store.imagecache.states import LEFT
from tmpl_glance_store.imagecache.states import PREPARING
from tmpl_glance_store.imagecache.states import PROBLEMS
from tmpl_glance_store.imagecache.states import PUBLISHED
from tmpl_glance_store.imagecache.states import REFUSED
from tmpl_glance_store.imagecache.states import STALE
from tmpl_glance_store.imagecache.states import BaseFile
from tmpl_glance_store.imagecache.states import State
from tmpl_glance_store.options import nova as opts

LOG = logging.getLogger(__name__)


def base_name(image_id: str) -> str:
    """Return the name of an image's base file.

    Source: ``get_cache_fname`` in nova/virt/libvirt/imagecache.py.
    """
    return hashlib.sha1(image_id.encode(), usedforsecurity=False).hexdigest()


class ImageCache:
    """Publishes the templates that this node holds.

    One thread calls :meth:`run`; any may call the rest.

    :param ended: called when something has changed that :meth:`run` waits for
    """

    def __init__(
        self,
        options: opts.NovaOptions,
        ended: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._directory = options.base_directory
        self._clock = clock
        self._owner = ownership.Ownership(options)
        self._linker = linking.Linker(
            options.base_directory,
            options.publish,
            options.mode,
            self._owner,
            links=not options.complete_clones,
        )
        self._preparation = preparation.Preparation(
            options, self._linker, ended
        )
        self._locks = locks.Locks(
            options.instances_path, self._owner, options.lock_timeout
        )
        self._publication = publication.Publication(
            self._linker, self._locks, self._owner, clock
        )
        self._instances = instances.Instances(options.instances_path)
        # The ledgers are also written by who proves base files.
        self._mutex = threading.RLock()
        self._ledgers: dict[str, ledger.Ledger] = {}
        #: Of the last pass.
        self.outcome = outcome.Outcome()
        self._served: set[str] = set()  # base files whose boots have waited
        self._downloads = downloads.Downloads(options.base_directory)
        self._said: dict[str, str] = {}
        self._cleaned = False

    # The pass

    def run(
        self,
        held: Sequence[Held],
        arriving: Mapping[str, Collection[str]],
        failed: Collection[str],
        images: Mapping[str, str],
        roots: Iterable[str],
    ) -> outcome.Outcome:
        """Make one pass.

        :param held: the templates of this node that have images
        :param arriving: images of the templates on their way, by digest
        :param failed: digests whose transfer has failed
        :param images: the digests of all images that live, by their ids
        :param roots: the directories of the locations that are there
        """
        with self._mutex:
            self._open(roots)
            problem = self._problem()
            states = {
                image_id: self._settle(each, image_id, problem)
                for each in held
                for image_id in each.images
            }
            for digest, image_ids in arriving.items():
                for image_id in image_ids:
                    path = self._path(image_id)
                    if image_id not in states and not os.path.exists(path):
                        states[image_id] = self._expect(
                            digest, image_id, problem, digest in failed
                        )
            self._preparation.keep_only(
                {
                    each.digest
                    for each in states.values()
                    if each.state not in (PUBLISHED, FOREIGN, DAMAGED, STALE)
                }
            )
            self._guard(states, images)
            self._forget(states, images)
            self._tell(states)
            self.outcome = self._result(states)
            return self.outcome

    def _open(self, roots: Iterable[str]) -> None:
        roots = set(roots)
        for root in self._ledgers.keys() - roots:
            del self._ledgers[root]
        for root in roots - self._ledgers.keys():
            try:
                self._ledgers[root] = ledger.Ledger(root, self._directory)
            except OSError as exc:
                self._say(root, f'Nothing is published from {root}: {exc}')

    def _problem(self) -> str | None:
        """Return why nothing can be published on this node now, if so."""
        path = self._options.instances_path
        if not os.path.isdir(path):
            return f'{path} is not there; is nova-compute installed here?'
        mount = fsutil.mount_point(self._directory)
        for entry in self._entries():
            if entry.is_hidden(mount):
                return (
                    f'{entry.mount} is not mounted, where base files are. '
                    f'If it is not to be any more, remove the directory '
                    f'published in each location, and restart'
                )
        try:
            self._owner.make_directory(self._directory)
            if os.statvfs(self._directory).f_flag & os.ST_RDONLY:
                return f'{self._directory} is on a read-only file system'
            if not self._cleaned:
                self._linker.clean()
                self._locks.clean()
                self._cleaned = True
        except OSError as exc:
            return f'{self._directory}: {exc}'
        return None

    def _entries(self) -> Iterator[ledger.Entry]:
        """Yield what is known of the base files in Nova's directory."""
        for book in self._ledgers.values():
            yield from list(book.entries.values())

    # One image of a template that is here

    def _settle(self, held: Held, image_id: str, problem: str | None) -> State:
        """Bring one base file in line, as far as that goes now."""
        try:
            state, reason = self._attempt(held, image_id, problem)
        except inspection.Refused as exc:
            state, reason = REFUSED, str(exc)
        except (exceptions.TmplError, OSError) as exc:
            state, reason = FAILED, str(exc)
        return State(image_id, held.digest, state, reason)

    def _attempt(
        self, held: Held, image_id: str, problem: str | None
    ) -> tuple[str, str]:
        path = self._path(image_id)
        entry = self._entry(os.path.basename(path))
        if entry is not None and os.path.exists(path) and entry.is_there():
            return self._keep(entry, held)
        if os.path.lexists(path) and not self._is_forgotten(path, held):
            return FOREIGN, (
                publication.FOREIGN
                if os.path.exists(path)
                else 'a symbolic link that leads nowhere, and is not '
                'ours; Nova replaces it'
            )
        if problem is not None:
            return FAILED, problem
        prepared = self._preparation.get(held)
        if prepared is None:
            return PREPARING, ''
        book = self._ledgers.get(held.root)
        if book is None:
            return FAILED, f'no ledger in {held.root}'
        return self._publication.publish(held, image_id, path, prepared, book)

    @staticmethod
    def _is_forgotten(path: str, held: Held) -> bool:
        """Tell whether *path* is a link of ours which is in no ledger.

        If it leads somewhere, then only one to what it should lead to.
        """
        content = ledger.held_content(path)
        if content is None or not os.path.exists(path):
            return content is not None
        derived = conversion.find(held.directory)
        return content in (held.digest, derived and derived.digest)

    def _progress(self, digest: str) -> str:
        percentage = self._preparation.progress(digest)
        return (
            ''
            if percentage is None
            else f'{percentage:.0f} % converted to raw'
        )

    def _keep(self, entry: ledger.Entry, held: Held) -> tuple[str, str]:
        """Look after a base file of ours."""
        if entry.digest != held.digest:
            # Not touched, so that Nova ages it out.
            return STALE, (
                'its base file is of content that the image had '
                'before, and Nova boots that'
            )
        if self._options.complete_clones and entry.mode in linking.LINKS:
            return FAILED, (
                f'made as a {entry.mode} before images_type was '
                f'changed: Nova could not write its copies. '
                f'Remove it when no instance needs it'
            )
        if entry.damaged:
            return DAMAGED, 'its bytes are not those of its digest any more'
        self._touch(entry.path)
        wants_raw = self._options.force_raw and held.template.format not in (
            'raw',
            'iso',
            None,
        )
        if entry.converted != wants_raw:
            return PUBLISHED, (
                'made before force_raw was changed; a base '
                'file is never replaced'
            )
        return PUBLISHED, ''

    def _touch(self, path: str) -> None:
        """Tell Nova's cache manager that a base file is in use."""
        if (
            self._clock() - os.stat(path).st_mtime
            < self._options.touch_interval
        ):
            return
        try:
            os.utime(path)
        except PermissionError as exc:
            raise exceptions.WriteDenied(
                f'{path} cannot be touched: Nova will remove it as unused '
                f'({exc.strerror}); libvirt has given it to another user: '
                f'give the agent CAP_FOWNER'
            ) from exc

    def _path(self, image_id: str) -> str:
        return os.path.join(self._directory, base_name(image_id))

    def _entry(self, name: str) -> ledger.Entry | None:
        for book in list(self._ledgers.values()):
            if (entry := book.entries.get(name)) is not None:
                return entry
        return None

    # Boots that wait

    def _expect(
        self, digest: str, image_id: str, problem: str | None, failed: bool
    ) -> State:
        """Return what an image is whose template is not here yet."""
        if failed:
            self._served.add(base_name(image_id))
        return State(
            image_id,
            digest,
            FAILED if problem or failed else ARRIVING,
            problem or ('its transfer failed' if failed else ''),
        )

    def _guard(
        self, states: Mapping[str, State], images: Iterable[str]
    ) -> None:
        """Let boots wait for what is arriving or in preparation, but once."""
        wanted = {
            base_name(each.image_id)
            for each in states.values()
            if each.state in (ARRIVING, PREPARING)
            and not os.path.exists(self._path(each.image_id))
        }
        self._served = {
            name
            for name in self._served & {base_name(each) for each in images}
            if not os.path.exists(os.path.join(self._directory, name))
        }
        for name in self._locks.guarded - wanted:
            self._locks.let_go(name)
        if not self._options.lock_timeout:
            return
        # Those that have been served have waited long enough.
        for name in wanted - self._locks.guarded - self._served:
            try:
                if self._locks.guard(name):
                    self._served.add(name)
            except exceptions.WriteDenied as exc:
                self._say('locks', f'Boots cannot wait: {exc}')
                return  # nor can the others

    # What is not wanted any more

    def _forget(
        self, states: dict[str, State], images: Mapping[str, str]
    ) -> None:
        mounts: dict[str, str] = {}
        for book in self._ledgers.values():
            try:
                for entry in book.all():
                    if entry.directory not in mounts:
                        mounts[entry.directory] = fsutil.mount_point(
                            entry.directory
                        )
                    if os.path.isdir(entry.directory) and not entry.is_hidden(
                        mounts[entry.directory]
                    ):
                        self._look_back(entry, book, states, images)
                book.drop_holds()
            except (
                OSError,
                exceptions.WriteDenied,
                exceptions.NoSpace,
            ) as exc:
                self._say('ledger', f'The ledger is not up to date: {exc}')

    def _look_back(
        self,
        entry: ledger.Entry,
        book: ledger.Ledger,
        states: dict[str, State],
        images: Mapping[str, str],
    ) -> None:
        """Forget a base file that is gone; touch one that outlives a copy.

        Its directory is there: of one that is not nothing is known, and
        running instances may need what it holds.
        """
        state = states.get(entry.image_id)
        if not entry.is_there():
            if state is None or state.state != FAILED:
                book.remove(entry)
        elif state is None and entry.directory == self._directory:
            reason = 'Nova removes it when no instance needs it'
            if (
                images.get(entry.image_id) == entry.digest
                and entry.converted
                and not self._options.keep_original
            ):
                self._touch(entry.path)
                reason = 'the original went because this is here'
            states[entry.image_id] = State(
                entry.image_id,
                entry.digest,
                DAMAGED if entry.damaged else LEFT,
                reason,
            )

    # What others want to know

    def _result(self, states: dict[str, State]) -> outcome.Outcome:
        converted = {
            image_id
            for image_id in states
            if (entry := self._entry(base_name(image_id))) and entry.converted
        }
        return outcome.Outcome.of(
            states,
            frozenset() if self._options.keep_original else converted,
            self._preparation.next_change(),
        )

    def base_files(self) -> list[BaseFile]:
        """Return what there is to know of the images' base files now."""
        by_base = self._instances.by_base()
        return [
            self._describe(each, by_base)
            for _, each in sorted(self.outcome.states.items())
        ]

    def _describe(
        self, state: State, by_base: Mapping[str, Sequence[str]]
    ) -> BaseFile:
        name = base_name(state.image_id)
        # Without the mutex: a pass may hang with Nova's disk.
        entry = self._entry(name)
        return BaseFile(
            image=state.image_id,
            digest=state.digest,
            state=state.state,
            reason=(
                self._progress(state.digest)
                if state.state == PREPARING
                else state.reason
            ),
            base_file=os.path.join(self._directory, name),
            mode=entry.mode if entry is not None else None,
            converted=entry is not None and entry.converted,
            boots_wait=name in self._locks.guarded,
            instances=tuple(by_base.get(name, ())),
        )

    def close(self) -> None:
        """Let waiting boots go on, and break conversions off."""
        self._locks.close()
        self._preparation.close()

    def _tell(self, states: Mapping[str, State]) -> None:
        for image_id, state in states.items():
            if state.state in PROBLEMS and (
                state != self.outcome.states.get(image_id)
            ):
                LOG.warning(
                    'Image %s (template %s) is not published: %s',
                    image_id,
                    state.digest,
                    state.reason,
                )

    def _say(self, key: str, text: str) -> None:
        if self._said.get(key) != text:
            LOG.warning('%s', text)
            self._said[key] = text

    # Boots elsewhere

    def take_downloads(self, images: Iterable[str]) -> frozenset[str]:
        """Return which of *images* Nova downloads, or has just downloaded.

        The latter are told once: who calls this has to remember them.
        """
        if not self._options.fetch_on_boot:
            return frozenset()
        names = {base_name(each): each for each in images}
        return frozenset(
            names[each] for each in self._downloads.take(frozenset(names))
        )

    def downloads_began(self) -> bool:
        """Tell whether Nova has begun a download since the last call."""
        return self._options.fetch_on_boot and self._downloads.look()

    # Proofs

    def due(self, period: float) -> Iterator[proofs.Proof]:
        """Yield the files to prove: base files, and conversions.

        :param period: seconds after which a file is due again
        """
        return proofs.due(
            dict(self._ledgers), self._clock() - period, self._judge
        )

    def _judge(
        self, book: ledger.Ledger, entry: ledger.Entry, good: bool
    ) -> None:
        """Note whether a base file has been proved, or found damaged."""
        with self._mutex:
            if book.entries.get(entry.name) == entry and entry.is_there():
                book.write(
                    dataclasses.replace(
                        entry, verified_at=self._clock(), damaged=not good
                    )
                )
        if not good:
            names = self._instances.by_base().get(entry.name, ())
            LOG.error(
                'Base file %s is damaged; instances on it: %s',
                entry.path,
                ', '.join(names) or 'none',
            )
