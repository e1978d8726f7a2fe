# SPDX-License-Identifier: Apache-2.0
"""The key-value contract under the catalog, after etcd's model.

Drivers are found by stevedore in the namespace ``tmpl_glance_store.catalog``,
by the scheme of the catalog's URL up to a ``+``, and are called with that URL.
A driver may bring options: a class attribute ``OPTIONS`` lists options of
oslo.config with names that begin with ``tmpl_store_``, and it is called with
their values as keyword arguments without that prefix. Every driver passes
``tests/contract/keyvalue.py``. All methods may be called from several
threads, and in a child after a fork.

All methods raise :class:`~tmpl_glance_store.exceptions.Unavailable` when the
store cannot be reached; nothing is changed then, except that a
:meth:`KeyValue.commit` may have been carried out all the same.
"""

import abc
import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value; ``revision`` grows with every change."""

    key: str
    value: bytes
    revision: int


@dataclasses.dataclass(frozen=True, slots=True)
class Compare:
    """Holds if *key* was last changed at *revision*; 0: it is absent."""

    key: str
    revision: int


@dataclasses.dataclass(frozen=True, slots=True)
class Put:
    """Set *key*; with a lease, only for as long as the lease lives."""

    key: str
    value: bytes
    lease: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Delete:
    """Remove *key*; it is no error if there is none."""

    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A key's newest value, None if it was deleted, since *revision*."""

    key: str
    value: bytes | None
    revision: int


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """How far a store is: which one it is, and its newest revision.

    A store that was made anew has another identity, or begins again with a
    low revision; one that was restored is at a revision that it had before.
    """

    identity: str
    revision: int


class Watch(abc.ABC):
    """Tells that something below a prefix may have changed, and what."""

    @abc.abstractmethod
    def wait(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds; True if there may be a change.

        It may say True without one, and never misses one: what happened
        while nobody waited is told by the next call.
        """

    @abc.abstractmethod
    def take(self) -> Sequence[Change] | None:
        """Return what has changed since the last call, or the beginning.

        Each key comes once, with what became of it last. A change may come
        although a list that was read meanwhile shows it already: its revision
        is then not above the highest one in that list.

        :returns: None if changes may have been missed: list all anew
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Stop watching; a thread in :meth:`wait` returns soon."""


class KeyValue(abc.ABC):
    """A strictly consistent key-value store.

    :cvar CREATES: whether a driver makes its store if there is none; it is
        called with ``create`` then: False for who only looks
    """

    CREATES = False

    @abc.abstractmethod
    def get(self, key: str) -> Entry | None:
        """Return the entry of *key*, or None if it is absent."""

    @abc.abstractmethod
    def get_all(self, keys: Sequence[str]) -> list[Entry]:
        """Return the entries of those of *keys* that are there."""

    @abc.abstractmethod
    def moment(self, key: str) -> Moment:
        """Return how far the store is.

        :param key: any that may be read, present or not
        """

    @abc.abstractmethod
    def list(self, prefix: str) -> list[Entry]:
        """Return all entries whose keys begin with *prefix*, by key."""

    @abc.abstractmethod
    def commit(
        self, compares: Sequence[Compare], writes: Sequence[Put | Delete]
    ) -> bool:
        """Make all *writes* at once if all *compares* hold.

        :returns: whether they held
        :raises NotFound: if a lease of a write has expired
        """

    @abc.abstractmethod
    def grant(self, ttl: int) -> int:
        """Return a new lease, which lives for *ttl* seconds."""

    @abc.abstractmethod
    def keep_alive(self, lease: int) -> bool:
        """Begin the lease's time anew; False if it has expired already."""

    @abc.abstractmethod
    def revoke(self, lease: int) -> None:
        """End the lease and remove its keys; no error if it has expired."""

    @abc.abstractmethod
    def watch(self, prefix: str) -> Watch:
        """Return a watch of the keys that begin with *prefix*."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give up connections; the object is not used any more."""
