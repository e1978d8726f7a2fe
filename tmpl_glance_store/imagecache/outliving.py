# SPDX-License-Identifier: Apache-2.0
"""Looks back at base files that were made here once."""

import logging
from collections.abc import Callable, Mapping

from tmpl_glance_store import exceptions
from tmpl_glance_store.imagecache import books
from tmpl_glance_store.imagecache import decision
from tmpl_glance_store.imagecache import entries
from tmpl_glance_store.imagecache import facts
from tmpl_glance_store.imagecache import ledger
from tmpl_glance_store.imagecache.states import State
from tmpl_glance_store.imagecache.states import Verdict

LOG = logging.getLogger(__name__)


class Outliving:
    """Forgets base files that are gone; knows those that outlive a copy.

    :param directory: of the base files
    :param clock: as ``time.time``
    """

    def __init__(
        self,
        directory: str,
        *,
        rules: decision.Rules,
        books: books.Books,
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._rules = rules
        self._books = books
        self._clock = clock
        self._said: dict[str, str] = {}

    def look_back(
        self, seen: Mapping[str, State], images: Mapping[str, str]
    ) -> dict[str, State]:
        """Return what the images are, by id, whose base files were left.

        :param seen: what the pass has found of all other images
        :param images: the digests of all images that live, by their ids
        """
        left: dict[str, State] = {}
        for book, entry in list(self._books.visible()):
            image_id = entry.image_id
            state = seen.get(image_id) or left.get(image_id)
            try:
                found = self._outlived(
                    book, entry, state, images.get(image_id)
                )
            except (OSError, exceptions.TmplError) as exc:
                self._say(entry.path, f'{entry.path} is not looked at: {exc}')
                continue
            if found is not None:
                left[image_id] = State.of(image_id, entry.digest, found)
        self._drop_holds()
        return left

    def _outlived(
        self,
        book: ledger.Ledger,
        entry: entries.Entry,
        state: State | None,
        digest: str | None,
    ) -> Verdict | None:
        """Look back at one base file; return what it is, if it was left.

        :param state: what the pass has found of its image
        :param digest: of the image's template, if it lives
        """
        todo = decision.look_back(
            facts.look(entry.path, entry),
            entry,
            state.verdict if state is not None else None,
            digest,
            self._rules,
            self._clock(),
        )
        if isinstance(todo, decision.Forget):
            book.remove(entry)
            return None
        # What is in another image cache is remembered, and no more.
        if todo is None or entry.directory != self._directory:
            return None
        if isinstance(todo, decision.Touch):
            facts.touch(entry.path)
        return todo.verdict

    def _drop_holds(self) -> None:
        for root, book in self._books.by_root.items():
            try:
                book.drop_holds()
            except OSError as exc:
                self._say(root, f'{root}: what links hold stays: {exc}')

    def _say(self, key: str, text: str) -> None:
        if self._said.get(key) != text:
            LOG.warning('%s', text)
            self._said[key] = text
