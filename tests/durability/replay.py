# SPDX-License-Identifier: Apache-2.0
"""Puts what a power cut has left where the tree was."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator
from unittest import mock

from tests.durability import model


def after_each(
    instants: list[model.Instant], root: pathlib.Path
) -> Iterator[tuple[model.Instant, model.Remains]]:
    """Yield each instant and what is left of it, laid out below *root*.

    What was laid out before, with the same promises, is not laid out again.
    """
    seen = set()
    with _no_waiting():
        for number, instant in enumerate(instants):
            for left in model.remains(instant, seed=str(number)):
                key = (left, *instant.catalog.values(), instant.promises)
                if key not in seen:
                    seen.add(key)
                    lay_out(left, instant.catalog, root)
                    yield instant, left


def lay_out(
    left: model.Remains, catalog: dict[str, bytes], root: pathlib.Path
) -> None:
    """Make *root* hold what is left, and the catalog's files."""
    shutil.rmtree(root)
    root.mkdir()
    names: dict[int, str] = {}
    for name, inode, node in left.tree:
        path = os.path.join(root, name)
        if isinstance(node, model.Directory):
            os.mkdir(path)
        elif inode in names:
            os.link(names[inode], path, follow_symlinks=False)
        elif isinstance(node, model.Link):
            os.symlink(node.target, path)
        else:
            pathlib.Path(path).write_bytes(node.data)
            os.chmod(path, node.mode)
            for attribute, value in node.attributes:
                os.setxattr(path, attribute, value)
            # A machine takes a while to start: this is no fresh probe.
            os.utime(path, (0, 0))
        names[inode] = path
    for name, data in catalog.items():
        (root / name).write_bytes(data)


@contextlib.contextmanager
def _no_waiting() -> Iterator[None]:
    """Leave fsync out: nobody pulls the plug during a replay."""
    with mock.patch.object(os, 'fsync'):
        yield
