# SPDX-License-Identifier: Apache-2.0
"""The keys of a cluster in the catalog, and the records beneath them.

The only place that spells a key: ``/tmpl/<cluster>/v1/<kind>/<name>``.
"""

import dataclasses
from collections.abc import Callable
from typing import Generic, TypeVar

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import contract

_ATTEMPTS = 100

R = TypeVar('R', bound=objects.Record)


@dataclasses.dataclass(frozen=True, slots=True)
class Found(Generic[R]):
    """A record as it was read; None, and revision 0, if there is none."""

    key: str
    record: R | None
    revision: int

    def unchanged(self) -> contract.Compare:
        """Return the condition that nobody has written it since."""
        return contract.Compare(self.key, self.revision)


class Table(Generic[R]):
    """The records of one kind.

    :param prefix: what their keys begin with, with a slash at the end
    :param record_type: what their values are
    :param name: returns what stands after the prefix
    """

    def __init__(
        self,
        store: contract.KeyValue,
        prefix: str,
        record_type: type[R],
        name: Callable[[R], str],
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._type = record_type
        self._name = name

    def find(self, name: str) -> Found[R]:
        """Return the record called *name*."""
        entry = self._store.get(self._prefix + name)
        if entry is None:
            return Found(self._prefix + name, None, 0)
        return Found(entry.key, self.parse(entry.value), entry.revision)

    def get(self, name: str) -> R | None:
        """Return the record called *name*, or None."""
        return self.find(name).record

    def list(self, below: str = '') -> list[R]:
        """Return all records whose names begin with *below*, by name."""
        return [
            self.parse(entry.value)
            for entry in self._store.list(self._prefix + below)
        ]

    def holds(self, record: R) -> bool:
        """Tell whether exactly *record* is written already."""
        entry = self._store.get(self.key(record))
        return entry is not None and entry.value == record.to_json()

    def key(self, record: R) -> str:
        """Return the key of *record*."""
        return self._prefix + self._name(record)

    def put(self, record: R, lease: int | None = None) -> contract.Put:
        """Return the write of *record*."""
        return contract.Put(self.key(record), record.to_json(), lease)

    def parse(self, value: bytes) -> R:
        """Return the record that is written as *value*."""
        return self._type.from_json(value)


class Records:
    """All records of the cluster *cluster*, by kind.

    :param store: a driver of the key-value contract
    """

    def __init__(self, store: contract.KeyValue, cluster: str) -> None:
        self.store = store
        self.root = f'/tmpl/{cluster}/v1'
        self.images = self._table('images', objects.Image, image_name)
        self.templates = self._table(
            'templates',
            objects.TemplateRecord,
            lambda record: record.template.digest,
        )
        self.copies = self._table(
            'copies',
            objects.Copy,
            lambda copy: copy_name(copy.digest, copy.location_id),
        )
        self.locations = self._table(
            'locations', objects.Location, lambda location: location.id
        )
        self.nodes = self._table('nodes', objects.Node, lambda node: node.name)

    def entries(self) -> list[contract.Entry]:
        """Return all that the cluster has, as it is at one moment."""
        return self.store.list(f'{self.root}/')

    def split(self, key: str) -> tuple[str, str]:
        """Return (kind, name) of a key of this cluster."""
        kind, _, name = key.removeprefix(f'{self.root}/').partition('/')
        return kind, name

    def _table(
        self, kind: str, record_type: type[R], name: Callable[[R], str]
    ) -> Table[R]:
        return Table(self.store, f'{self.root}/{kind}/', record_type, name)


def image_name(image: objects.Image | str) -> str:
    """Return the name of an image's record, given its id or the record."""
    image_id = image if isinstance(image, str) else image.image_id
    # Glance allows upper case in the ids of images, our URLs do not.
    return image_id.lower()


def copy_name(digest: str, location_id: str) -> str:
    """Return the name of a copy's record."""
    return f'{digest}/{location_id}'


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
