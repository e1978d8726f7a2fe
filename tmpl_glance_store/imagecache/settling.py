# SPDX-License-Identifier: Apache-2.0
"""Brings the base files of templates that are here in line."""

import os
from collections.abc import Callable, Iterable, Iterator

from tmpl_glance_store import exceptions
from tmpl_glance_store.disk_images import derived
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.imagecache import books
from tmpl_glance_store.imagecache import decision
from tmpl_glance_store.imagecache import facts
from tmpl_glance_store.imagecache import preparation
from tmpl_glance_store.imagecache import publication
from tmpl_glance_store.imagecache import states
from tmpl_glance_store.imagecache.prepared import Held
from tmpl_glance_store.imagecache.states import State
from tmpl_glance_store.imagecache.states import Verdict


class Settling:
    """Carries out what is decided about each image of a template.

    :param directory: of the base files
    :param clock: as ``time.time``
    """

    def __init__(
        self,
        directory: str,
        *,
        rules: decision.Rules,
        books: books.Books,
        preparation: preparation.Preparation,
        publication: publication.Publication,
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._rules = rules
        self._books = books
        self._preparation = preparation
        self._publication = publication
        self._clock = clock

    def settle(
        self, held: Iterable[Held], problem: str | None
    ) -> Iterator[State]:
        """Bring base files in line, each as far as that goes now.

        :param held: the templates that are here
        :param problem: why nothing can be published now, if so
        :returns: what became of each image; one that fails stops no other
        """
        for each in held:
            for image_id in each.images:
                try:
                    verdict = self._attempt(each, image_id, problem)
                except inspection.Refused as exc:
                    verdict = Verdict(states.REFUSED, str(exc))
                except (exceptions.TmplError, OSError) as exc:
                    verdict = Verdict(states.FAILED, str(exc))
                yield State.of(image_id, each.digest, verdict)

    def _attempt(
        self, held: Held, image_id: str, problem: str | None
    ) -> Verdict:
        name = facts.base_name(image_id)
        path = os.path.join(self._directory, name)
        entry = self._books.find(name)
        seen = facts.look(path, entry)
        todo = decision.decide(
            seen,
            entry,
            _wanted(held, seen),
            self._rules,
            self._clock(),
            problem,
        )
        if isinstance(todo, decision.Make):
            return self._make(held, image_id, path)
        if isinstance(todo, decision.Touch):
            facts.touch(path)
        return todo.verdict

    def _make(self, held: Held, image_id: str, path: str) -> Verdict:
        """Publish a template, as soon as it is prepared."""
        prepared = self._preparation.get(held)
        if prepared is None:
            return Verdict(states.PREPARING)
        book = self._books.of(held.root)
        if book is None:
            return Verdict(states.FAILED, f'no ledger in {held.root}')
        return self._publication.publish(held, image_id, path, prepared, book)


def _wanted(held: Held, seen: facts.Facts) -> decision.Wanted:
    """Return what a base file should be made of.

    The raw form counts only where a link of ours may lead to it.
    """
    contents = {held.digest}
    if seen.leads_to is not None:
        made = derived.find(held.copy)
        contents |= {made.digest} if made is not None else set()
    return decision.Wanted(held.digest, held.template.format, contents)
