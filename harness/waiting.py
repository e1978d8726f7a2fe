# SPDX-License-Identifier: Apache-2.0
"""Waits for what other processes do, but not for ever."""

import time
from collections.abc import Callable, Iterator


def ticks(seconds: float, period: float = 0.1) -> Iterator[None]:
    """Yield at once and then every *period* until *seconds* have passed."""
    deadline = time.monotonic() + seconds
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(period)


def wait_for(
    condition: Callable[[], object], what: str, seconds: float = 60
) -> None:
    """Wait until *condition* returns something true.

    :raises TimeoutError: if it does not in time; says *what* is missing
    """
    for _ in ticks(seconds):
        if condition():
            return
    raise TimeoutError(f'{seconds} s are not enough for {what}')


def eventually(condition: Callable[[], object], deadline: float = 60) -> bool:
    """Wait until *condition* holds; False if it does not in time."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
