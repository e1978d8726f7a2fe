# SPDX-License-Identifier: Apache-2.0
"""Nova's own libvirt image back ends and cache manager, and their results."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, Self

from tmpl_glance_store import imagecache

ROOT = pathlib.Path(__file__).parents[1]


class Nova:
    """A process that runs Nova's code for one directory of instances.

    :param instances_path: made unless it is there
    :param force_raw: Nova's ``force_raw_images``
    """

    def __init__(
        self, instances_path: pathlib.Path, *, force_raw: bool = False
    ) -> None:
        instances_path.mkdir(exist_ok=True)
        self.instances_path = instances_path
        self.base = instances_path / '_base'
        self._force_raw = force_raw
        self._process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-m', 'harness.nova_child'],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def base_file(self, image_id: str) -> pathlib.Path:
        """Return where an image's base file is, or would be."""
        return self.base / imagecache.base_name(image_id)

    def begin_clones(self, image_id: str, *names: str, **options: Any) -> None:
        """Begin to boot instances; see ``nova_child.clone``."""
        self._ask('clone', image_id=image_id, names=names, **options)

    def end_clones(self) -> dict[str, Any]:
        """Wait for the boots; return their outcome. None failed."""
        outcome = self._answer()
        assert not outcome['errors'], outcome['errors'][0]
        return outcome

    def clone(
        self, image_id: str, *names: str, **options: Any
    ) -> dict[str, Any]:
        """Boot instances, and wait for them."""
        self.begin_clones(image_id, *names, **options)
        return self.end_clones()

    def failures(
        self, image_id: str, *names: str, **options: Any
    ) -> list[str]:
        """Boot instances; return the errors."""
        self.begin_clones(image_id, *names, **options)
        return self._answer()['errors']

    def age(
        self, maximum: int = 0, instances: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Let the cache manager remove what is unused and *maximum* old."""
        self._ask('age', maximum=maximum, instances=list(instances))
        self._answer()

    def _ask(self, verb: str, **request: Any) -> None:
        assert self._process.stdin
        print(
            json.dumps(
                {
                    'verb': verb,
                    'force_raw': self._force_raw,
                    'instances_path': str(self.instances_path),
                    **request,
                },
                default=str,
            ),
            file=self._process.stdin,
            flush=True,
        )

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, 'the child has ended'
        return json.loads(line)
