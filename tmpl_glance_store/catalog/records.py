# SPDX-License-Identifier: Apache-2.0
"""The keys of a cluster in the catalog, and the records beneath them.

The only place that spells a key, and the only door to what stands there::

    /tmpl/<cluster>/v2/images/<image id>          Image      by Glance
    /tmpl/<cluster>/v2/state/
        history/catalog                           History    by Glance
        templates/<digest>                        Template   by Glance
        heads/<digest>                            Head       by Glance
        claims/<digest>/<image id>                Claim      by Glance
        deletions/<digest>                        Deletion   by Glance
        pins/<digest>                             Pin        by operators
        placement/<node>/<uuid>                   Placement  by operators
        nodes/<node>                              Node, leased   by it
        locations/<node>/<uuid>                   Location       by it
        copies/<node>/<uuid>/<digest>             Copy           by it

``images/`` is apart because nodes must not read it, and a watch needs the
right to all that it covers. Kinds come before nodes, so that one kind can be
listed without the others; the id of a location begins with its node, so that
a node can speak of no other's.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store import schema
from tmpl_glance_store.catalog import contract

LOG = logging.getLogger(__name__)

_ATTEMPTS = 100

R = TypeVar('R', bound=schema.Record)


@dataclasses.dataclass(frozen=True, slots=True)
class Found(Generic[R]):
    """A record as it was read; None, and revision 0, if there is none."""

    key: str
    record: R | None
    revision: int

    def unchanged(self) -> contract.Compare:
        """Return the condition that nobody has written it since."""
        return contract.Compare(self.key, self.revision)


class Bad:
    """The records that cannot be read: left out, and named once each."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def note(self, key: str, reason: str) -> None:
        """Remember why the record at *key* is left out."""
        if self._reasons.get(key) != reason:
            LOG.error('Record %s is left out: %s', ascii(key), reason)
            self._reasons[key] = reason

    def forget(self, key: str) -> None:
        """Forget a record that is good, or gone."""
        self._reasons.pop(key, None)

    def keep(self, prefix: str, entries: Iterable[contract.Entry]) -> None:
        """Forget those below *prefix* that are not among all its *entries*."""
        if not self._reasons:
            return
        there = {each.key for each in entries}
        for key in self.reasons():
            if key.startswith(prefix) and key not in there:
                self.forget(key)

    def reasons(self) -> dict[str, str]:
        """Return the reasons, by key."""
        return dict(self._reasons)


class Table(Generic[R]):
    """The records of one kind.

    :param prefix: what their keys begin with, with a slash at the end
    :param record_type: what their values are
    :param name: returns what stands after the prefix
    :param bad: told of those that cannot be read
    """

    def __init__(
        self,
        store: contract.KeyValue,
        prefix: str,
        record_type: type[R],
        name: Callable[[R], str],
        bad: Bad,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._type = record_type
        self._name = name
        self._bad = bad

    def find(self, name: str) -> Found[R]:
        """Return the record called *name*.

        :raises Unavailable: if there is one that cannot be read, which is not
            to say that there is none
        """
        found = self.look(name)
        if found.record is None and found.revision:
            raise exceptions.Unavailable(
                f'record {found.key!a} of the catalog cannot be read: '
                f'{self._bad.reasons().get(found.key)}'
            )
        return found

    def look(self, name: str) -> Found[R]:
        """Return the record called *name*, or that there is no good one.

        For those who know better what has to stand there, and may replace a
        bad one.
        """
        key = self.at(name)
        entry = self._store.get(key)
        if entry is None:
            self._bad.forget(key)
            return Found(key, None, 0)
        return Found(key, self.read(key, entry.value), entry.revision)

    def get(self, name: str) -> R | None:
        """Return the record called *name*, or None."""
        return self.find(name).record

    def list(self, below: str = '') -> list[R]:
        """Return the good records whose names begin with *below*, by name."""
        prefix = self._prefix + below
        entries = self._store.list(prefix)
        self._bad.keep(prefix, entries)
        return list(self._good(entries))

    def select(self, names: Iterable[str]) -> Iterator[R]:
        """Yield the good ones among the records of these names."""
        return self._good(
            self._store.get_all([self._prefix + each for each in names])
        )

    def holds(self, record: R) -> bool:
        """Tell whether exactly *record* is written already."""
        entry = self._store.get(self.key(record))
        return entry is not None and entry.value == record.to_json()

    def key(self, record: R) -> str:
        """Return the key of *record*."""
        return self._prefix + self._name(record)

    def name_in(self, key: str) -> str:
        """Return the name of the record at *key*."""
        return key.removeprefix(self._prefix)

    def at(self, name: str) -> str:
        """Return the key of the record called *name*."""
        return self._prefix + name

    def put(self, record: R, lease: int | None = None) -> contract.Put:
        """Return the write of *record*."""
        return contract.Put(self.key(record), record.to_json(), lease)

    def read(self, key: str, value: bytes | None) -> R | None:
        """Return the record that is written as *value* at *key*.

        None, and a note, if it cannot be read or belongs to another key: one
        bad record must not stop those who read the others.
        """
        if value is None:
            self._bad.forget(key)
            return None
        try:
            record = self._type.from_json(value)
        except schema.BadRecord as exc:
            self._bad.note(key, str(exc))
            return None
        if self.key(record) != key:
            self._bad.note(key, f'it speaks of {self.key(record)}')
            return None
        self._bad.forget(key)
        return record

    def _good(self, entries: Iterable[contract.Entry]) -> Iterator[R]:
        for entry in entries:
            record = self.read(entry.key, entry.value)
            if record is not None:
                yield record


class Records:
    """All records of the cluster *cluster*, by kind.

    :param store: a driver of the key-value contract
    """

    def __init__(self, store: contract.KeyValue, cluster: str) -> None:
        self.store = store
        self.root = f'/tmpl/{cluster}/v2'
        self.state = f'{self.root}/state'
        self.bad = Bad()
        self.images = Table(
            store, f'{self.root}/images/', objects.Image, image_name, self.bad
        )
        self.history = self._table(
            'history', objects.History, lambda history: CATALOG
        )
        self.templates = self._table('templates', objects.Template, _digest)
        self.heads = self._table('heads', objects.Head, _digest)
        self.claims = self._table(
            'claims',
            objects.Claim,
            lambda claim: claim_name(claim.digest, claim.image_id),
        )
        self.deletions = self._table('deletions', objects.Deletion, _digest)
        self.pins = self._table('pins', objects.Pin, _digest)
        self.placement = self._table(
            'placement', objects.Placement, lambda place: place.location_id
        )
        self.nodes = self._table('nodes', objects.Node, lambda node: node.name)
        self.locations = self._table(
            'locations', objects.Location, lambda location: location.id
        )
        self.copies = self._table(
            'copies',
            objects.Copy,
            lambda copy: copy_name(copy.digest, copy.location_id),
        )

    def entries(self) -> list[contract.Entry]:
        """Return all that nodes may know, as it is at one moment."""
        prefix = f'{self.state}/'
        entries = self.store.list(prefix)
        self.bad.keep(prefix, entries)
        return entries

    def kind(self, key: str) -> str:
        """Return the kind of a key below ``state/``."""
        return key.removeprefix(f'{self.state}/').partition('/')[0]

    def is_history(self, key: str) -> bool:
        """Tell whether *key* is that of the catalog's own record."""
        return self.kind(key) == 'history'

    def _table(
        self, kind: str, record_type: type[R], name: Callable[[R], str]
    ) -> Table[R]:
        return Table(
            self.store, f'{self.state}/{kind}/', record_type, name, self.bad
        )


#: The name of the only record of its kind.
CATALOG = 'catalog'


def _digest(record: Any) -> str:
    digest: str = record.digest
    return digest


def image_name(image: objects.Image | str) -> str:
    """Return the name of an image's record, given its id or the record."""
    image_id = image if isinstance(image, str) else image.image_id
    # Glance allows upper case in the ids of images, our URLs do not.
    return image_id.lower()


def claim_name(digest: str, image_id: str = '') -> str:
    """Return the name of a claim, or what those on a template begin with."""
    return f'{digest}/{image_id.lower()}'


def copy_name(digest: str, location_id: str) -> str:
    """Return the name of a copy's record."""
    return f'{location_id}/{digest}'


def retry(attempt: Callable[[], bool]) -> None:
    """Make *attempt* until it succeeds: others write as well.

    :raises Unavailable: if others are always faster
    """
    for _ in range(_ATTEMPTS):
        if attempt():
            return
    raise exceptions.Unavailable(
        'the catalog changes too fast to be written; try again'
    )
