# SPDX-License-Identifier: Apache-2.0
"""What to do about one base file: from what is known to a value.

Pure: it looks at nothing but its arguments. Who wants to know why a base file
was made, left or forgotten needs to read nothing but this file; who acts has
to look again under Nova's lock (:func:`enter`), since Nova may have been
faster.
"""

import dataclasses
from collections.abc import Set
from typing import TypeAlias

from tmpl_glance_store.disk_images import formats
from tmpl_glance_store.imagecache import linking
from tmpl_glance_store.imagecache import states
from tmpl_glance_store.imagecache.entries import Entry
from tmpl_glance_store.imagecache.facts import Facts
from tmpl_glance_store.imagecache.states import Verdict


@dataclasses.dataclass(frozen=True)
class Rules:
    """What Nova's configuration asks of base files.

    ``complete_clones``: Nova copies base files instead of linking to them;
    ``touch_interval`` in seconds.
    """

    complete_clones: bool = False
    force_raw: bool = False
    keep_original: bool = True
    touch_interval: float = 3600


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What an image's base file should be made of.

    ``contents`` are the digests of the template and of its raw form.
    """

    digest: str
    format: str | None
    contents: Set[str]


@dataclasses.dataclass(frozen=True)
class Leave:
    """Do nothing."""

    verdict: Verdict


@dataclasses.dataclass(frozen=True)
class Touch:
    """Tell Nova that the base file is in use."""

    verdict: Verdict


@dataclasses.dataclass(frozen=True)
class Make:
    """Publish the template, as soon as it is prepared."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Give the new file its name, unless that is taken now."""


@dataclasses.dataclass(frozen=True)
class Redirect:
    """Let the symbolic link of ours lead to the new file."""


@dataclasses.dataclass(frozen=True)
class Forget:
    """Remove the entry: the base file is gone, or not ours any more."""


Decision: TypeAlias = Leave | Touch | Make

FOREIGN = Verdict(states.FOREIGN, 'Nova has made this base file itself')
_NOWHERE = Verdict(
    states.FOREIGN,
    'a symbolic link that leads nowhere, and is not ours; Nova replaces it',
)
# Not touched, so that Nova ages it out.
_STALE = Verdict(
    states.STALE,
    'its base file is of content that the image had before, and Nova boots '
    'that',
)
_DAMAGED = Verdict(
    states.DAMAGED, 'its bytes are not those of its digest any more'
)


def decide(
    facts: Facts,
    entry: Entry | None,
    wanted: Wanted,
    rules: Rules,
    now: float,
    problem: str | None = None,
) -> Decision:
    """Return what to do about the base file of an image.

    :param entry: of the base file that we have made for the image, if any
    :param now: in seconds since the epoch
    :param problem: why nothing can be published on this node, if so
    """
    if entry is not None and facts.there and facts.ours:
        return _keep(facts, entry, wanted, rules, now)
    if _is_taken(facts, wanted.contents):
        return Leave(FOREIGN if facts.there else _NOWHERE)
    if problem is not None:
        return Leave(Verdict(states.FAILED, problem))
    return Make()


def enter(facts: Facts, content: str) -> Leave | Place | Redirect:
    """Return how a new file gets its name; asked under Nova's lock.

    :param content: the digest of what is in the file
    """
    if _is_taken(facts, {content}):
        return Leave(FOREIGN)
    return Redirect() if facts.leads_to is not None else Place()


def look_back(
    facts: Facts,
    entry: Entry,
    settled: Verdict | None,
    digest: str | None,
    rules: Rules,
    now: float,
) -> Leave | Touch | Forget | None:
    """Return what to do about an entry at the end of a pass; None: nothing.

    Its directory is there: of one that is not nothing is known, and running
    instances may need what the base file holds.

    :param settled: what the pass has found of its image
    :param digest: of the image's template, None if the image is gone
    """
    if not facts.ours:
        failed = settled is not None and settled.state == states.FAILED
        return None if failed else Forget()
    if settled is not None:
        return None
    state = states.DAMAGED if entry.damaged else states.LEFT
    # The original went because this is here, and serves the image.
    if digest == entry.digest and entry.converted and not rules.keep_original:
        return _touch(
            facts,
            Verdict(state, 'the original went because this is here'),
            rules,
            now,
        )
    return Leave(Verdict(state, 'Nova removes it when no instance needs it'))


def _keep(
    facts: Facts, entry: Entry, wanted: Wanted, rules: Rules, now: float
) -> Leave | Touch:
    """Return how to look after a base file of ours."""
    if entry.digest != wanted.digest:
        return Leave(_STALE)
    if rules.complete_clones and entry.mode in linking.LINKS:
        return Leave(
            Verdict(
                states.FAILED,
                f'made as a {entry.mode} before images_type was changed: '
                f'Nova could not write its copies. Remove it when no '
                f'instance needs it',
            )
        )
    if entry.damaged:
        return Leave(_DAMAGED)
    as_asked = entry.converted == _wants_raw(wanted.format, rules)
    reason = (
        ''
        if as_asked
        else 'made before force_raw was changed; a base file is never replaced'
    )
    return _touch(facts, Verdict(states.PUBLISHED, reason), rules, now)


def _wants_raw(image_format: str | None, rules: Rules) -> bool:
    return rules.force_raw and image_format not in (None, *formats.AS_RAW)


def _touch(
    facts: Facts, verdict: Verdict, rules: Rules, now: float
) -> Leave | Touch:
    is_due = now - facts.touched_at >= rules.touch_interval
    return Touch(verdict) if facts.there and is_due else Leave(verdict)


def _is_taken(facts: Facts, contents: Set[str]) -> bool:
    """Tell whether there is something that is not ours to replace.

    A symbolic link of ours in no ledger is, if it leads nowhere, or to one of
    *contents*.
    """
    if facts.leads_to is None:
        return facts.taken
    return facts.there and facts.leads_to not in contents
