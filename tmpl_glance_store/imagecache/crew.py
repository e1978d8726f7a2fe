# SPDX-License-Identifier: Apache-2.0
"""Threads for work that takes long."""

import itertools
import queue
import threading
from collections.abc import Callable


class Crew:
    """Threads that take the least work first, and end with the process.

    Those of concurrent.futures would keep it until a qemu-img is done.

    :param size: how many there are
    """

    def __init__(self, name: str, size: int) -> None:
        self._work: queue.PriorityQueue[
            tuple[int, int, Callable[[], None]]
        ] = queue.PriorityQueue()
        self._count = itertools.count()
        for number in range(size):
            threading.Thread(
                target=self._run, name=f'{name}-{number}', daemon=True
            ).start()

    def put(self, size: int, work: Callable[[], None]) -> None:
        """Let the next one who is free do *work*, if it is the least.

        :param work: raises nothing
        """
        self._work.put((size, next(self._count), work))

    def _run(self) -> None:
        while True:
            _, _, work = self._work.get()
            work()
