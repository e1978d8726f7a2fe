# SPDX-License-Identifier: Apache-2.0
"""Which boots wait: those of base files that come, and each but once."""

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping

from tmpl_glance_store import exceptions
from tmpl_glance_store.imagecache import facts
from tmpl_glance_store.imagecache import guards as nova_guards
from tmpl_glance_store.imagecache import states
from tmpl_glance_store.imagecache.states import State
from tmpl_glance_store.imagecache.states import Verdict

LOG = logging.getLogger(__name__)


class Boots:
    """Lets boots wait for what is arriving or in preparation.

    A base file whose boots have waited, or whose transfer has failed, is
    *served*: nobody waits for it again until it was there.

    :param directory: of the base files
    """

    def __init__(self, directory: str, guards: nova_guards.Guards) -> None:
        self._directory = directory
        self._guards = guards
        self._served: set[str] = set()
        self._said = ''

    def expect(
        self,
        arriving: Mapping[str, Collection[str]],
        failed: Collection[str],
        problem: str | None,
    ) -> Iterator[State]:
        """Yield what the images are whose templates are not here yet.

        Those with a base file are not among them.

        :param arriving: images of the templates on their way, by digest
        :param failed: digests whose transfer has failed
        :param problem: why nothing can be published on this node, if so
        """
        for digest, image_ids in arriving.items():
            verdict = Verdict(states.ARRIVING)
            if problem is not None:
                verdict = Verdict(states.FAILED, problem)
            elif digest in failed:
                verdict = Verdict(states.FAILED, 'its transfer failed')
            for image_id in image_ids:
                name = facts.base_name(image_id)
                if not self._is_there(name):
                    if digest in failed:
                        self._served.add(name)
                    yield State.of(image_id, digest, verdict)

    def settle(self, seen: Iterable[State], images: Iterable[str]) -> None:
        """Let the boots of what comes wait, and all others go on.

        :param seen: what the images of this node are
        :param images: the ids of all that live
        """
        names = {
            facts.base_name(each.image_id)
            for each in seen
            if each.state in (states.ARRIVING, states.PREPARING)
        }
        coming = {each for each in names if not self._is_there(each)}
        known = {facts.base_name(each) for each in images}
        self._served = {
            each for each in self._served & known if not self._is_there(each)
        }
        guarded = self._guards.guarded
        for name in guarded - coming:
            self._guards.let_go(name)
        for name in coming - guarded - self._served:
            try:
                if self._guards.guard(name):
                    self._served.add(name)
            except exceptions.WriteDenied as exc:
                self._say(f'Boots cannot wait: {exc}')
                return  # nor can the others

    def _is_there(self, name: str) -> bool:
        return os.path.exists(os.path.join(self._directory, name))

    def _say(self, text: str) -> None:
        if text != self._said:
            LOG.warning('%s', text)
            self._said = text
