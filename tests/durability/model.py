# SPDX-License-Identifier: Apache-2.0
"""A file system at an instant: what lasts, and what a power cut may take.

Inodes have numbers of our own, since the kernel uses its anew. The root of
the tree is inode 0.
"""

import dataclasses
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

#: A name in a directory.
Slot = tuple[int, str]
#: Entries that change together: slots, and the inodes they get (None: gone).
Change = Mapping[Slot, int | None]

#: States that are made of one instant, at most.
BOUND = 24


@dataclasses.dataclass(frozen=True)
class Directory:
    """A directory; what is in it, the entries tell."""


@dataclasses.dataclass(frozen=True)
class Link:
    """A symbolic link, which lasts or goes with its name."""

    target: str


@dataclasses.dataclass(frozen=True)
class File:
    """The bytes, the mode and the extended attributes of a file."""

    data: bytes = b''
    mode: int = 0o600
    attributes: tuple[tuple[str, bytes], ...] = ()


Node = Directory | Link | File


@dataclasses.dataclass(frozen=True)
class Instant:
    """What is known right after one effect.

    :param after: names the effect
    :param entries: those that are on stable storage
    :param pending: changes of entries that are not, in their order
    :param synced: what of each inode is on stable storage
    :param written: what each inode looks like while the power is on
    :param kernel: the kernel's numbers of the inodes
    :param catalog: the committed files of the catalog, by their names
    :param promises: what the product has said so far, see ``rooms.py``
    """

    after: str
    entries: Mapping[Slot, int]
    pending: tuple[Change, ...]
    synced: Mapping[int, Node]
    written: Mapping[int, Node]
    kernel: Mapping[int, int]
    catalog: Mapping[str, bytes]
    promises: tuple[object, ...]


@dataclasses.dataclass(frozen=True)
class Remains:
    """What one power cut has left: (path, inode, what it is), parents first.

    Two paths of one inode are hard links.
    """

    tree: tuple[tuple[str, int, Node], ...]


def closure(pending: Sequence[Change], wanted: Iterable[int]) -> list[int]:
    """Return *wanted*, with the earlier changes of the same slots: in order.

    A change goes as a whole, and what was renamed twice has not two names.
    """
    wanted, slots = set(wanted), set[Slot]()
    for at in reversed(range(len(pending))):
        if at in wanted or slots & pending[at].keys():
            wanted.add(at)
            slots |= pending[at].keys()
    return sorted(wanted)


def apply(change: Change, entries: dict[Slot, int]) -> None:
    """Let *entries* be what they are after *change*."""
    for slot, inode in change.items():
        if inode is None:
            entries.pop(slot, None)
        else:
            entries[slot] = inode


def remains(instant: Instant, seed: str) -> Iterator[Remains]:
    """Yield what a power cut may leave of *instant*, each once.

    Every pending change of entries may be there or not, every file that is
    not on stable storage old, new, torn or zero; all of these while they are
    few, else the extremes, each change alone, each alone missing, and a
    sample that depends on nothing but *seed*.
    """
    seen = set()
    for choice in _choices(instant, random.Random(seed)):
        left = _leave(instant, choice)
        if left not in seen:
            seen.add(left)
            yield left


def _choices(instant: Instant, chance: random.Random) -> Iterator[list[int]]:
    """Yield which alternative each change, and each unsynced file, takes."""
    counts = [2] * len(instant.pending)
    counts += [len(_bytes(instant, each)) for each in _dirty(instant)]
    total = 1
    for count in counts:
        total *= count
    if total <= BOUND:
        yield from map(list, itertools.product(*map(range, counts)))
        return
    nothing, everything = [0] * len(counts), [1] * len(counts)
    yield nothing
    yield everything
    for at in range(len(counts)):
        for alternative in range(1, counts[at]):
            yield [*nothing[:at], alternative, *nothing[at + 1 :]]
        for alternative in (0, *range(2, counts[at])):
            yield [*everything[:at], alternative, *everything[at + 1 :]]
    for _ in range(BOUND):
        yield [chance.randrange(count) for count in counts]


def _dirty(instant: Instant) -> list[int]:
    return [
        inode
        for inode, node in instant.written.items()
        if isinstance(node, File) and instant.synced.get(inode) != node
    ]


def _bytes(instant: Instant, inode: int) -> list[Node]:
    """Return what may be left of a file: old, new, zeros, and half of it."""
    old, new = instant.synced.get(inode, File()), instant.written[inode]
    assert isinstance(new, File)
    size, half = len(new.data), len(new.data) // 2
    return [
        old,
        new,
        *(
            dataclasses.replace(new, data=data)
            for data in dict.fromkeys(
                (bytes(size), new.data[:half] + bytes(size - half))
            )
            if data != new.data
        ),
    ]


def _leave(instant: Instant, choice: list[int]) -> Remains:
    entries = dict(instant.entries)
    for at in closure(
        instant.pending,
        (at for at in range(len(instant.pending)) if choice[at]),
    ):
        apply(instant.pending[at], entries)
    nodes = {**instant.written, **instant.synced}
    for inode, alternative in zip(
        _dirty(instant), choice[len(instant.pending) :], strict=True
    ):
        nodes[inode] = _bytes(instant, inode)[alternative]
    return Remains(tuple(_walk(entries, nodes, 0, '')))


def _walk(
    entries: Mapping[Slot, int],
    nodes: Mapping[int, Node],
    directory: int,
    path: str,
) -> Iterator[tuple[str, int, Node]]:
    for (parent, name), inode in sorted(entries.items()):
        if parent == directory:
            here = f'{path}{name}'
            yield here, inode, nodes[inode]
            if isinstance(nodes[inode], Directory):
                yield from _walk(entries, nodes, inode, f'{here}/')
