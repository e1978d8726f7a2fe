# SPDX-License-Identifier: Apache-2.0
"""A watch that outlives the streams on which it is told of changes."""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Sequence

from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog.etcd import stream as etcd_stream
from tmpl_glance_store.catalog.etcd import url as etcd_url

LOG = logging.getLogger(__name__)

# Seconds before a watch connects again.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 5
_MOST_CHANGES = 10_000  # that a watch keeps for who does not take them

_RANDOM = random.SystemRandom()


class Watch(contract.Watch):
    """A thread that listens to a stream of changes, and replaces a lost one.

    A stream tells what happens from the moment it is open; what happened
    while there was none is unknown, so that each new one counts as a change
    of anything. No revision is remembered that could have been compacted.
    """

    def __init__(
        self,
        open_stream: Callable[[], etcd_stream.Stream],
        prefix: str,
        on_close: Callable[['Watch'], None],
    ) -> None:
        self._open_stream = open_stream
        self._prefix = prefix
        self._on_close = on_close
        self._closed = False
        self._news = False
        self._changes: dict[str, contract.Change] | None = {}
        self._start()

    def wait(self, timeout: float) -> bool:
        if self._is_inherited():
            self._start_again()
            return True
        with self._condition:
            self._condition.wait_for(
                lambda: self._news or self._closed, timeout
            )
            news, self._news = self._news, False
            return news and not self._closed

    def take(self) -> Sequence[contract.Change] | None:
        if self._is_inherited():
            self._start_again()
        with self._condition:
            changes, self._changes = self._changes, {}
        return None if changes is None else tuple(changes.values())

    def close(self) -> None:
        self._on_close(self)
        if self._pid != os.getpid():
            self._closed = True  # the connection is the parent's
            return
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            stream = self._stream
        if stream is not None:
            stream.stop()

    def distrust(self, endpoint: etcd_url.Endpoint) -> None:
        """Connect again if the stream comes from *endpoint*."""
        stream = self._stream
        if (
            self._pid == os.getpid()
            and stream is not None
            and stream.endpoint == endpoint
        ):
            stream.stop()

    def _is_inherited(self) -> bool:
        """Tell whether a fork has left the thread with the parent."""
        return self._pid != os.getpid() and not self._closed

    def _start_again(self) -> None:
        self._changes = None
        self._start()

    def _start(self) -> None:
        self._condition = threading.Condition()
        self._news = False
        self._stream: etcd_stream.Stream | None = self._open_stream()
        threading.Thread(
            target=self._run, name=f'watch {self._prefix}', daemon=True
        ).start()
        self._pid = os.getpid()

    def _run(self) -> None:
        pause: float = _SHORTEST_PAUSE
        while not self._closed:
            begun = time.monotonic()
            try:
                self._follow()
            except Exception as exc:
                # Whatever it is: without this thread, changes were missed.
                if not self._closed:
                    LOG.log(
                        logging.WARNING
                        if pause == _SHORTEST_PAUSE
                        else logging.DEBUG,
                        'Watch of %s: %s',
                        self._prefix,
                        exc,
                    )
            if time.monotonic() - begun > _LONGEST_PAUSE:
                pause = _SHORTEST_PAUSE
            with self._condition:
                # Not all clients at once, when etcd comes back.
                self._condition.wait_for(
                    lambda: self._closed, pause * _RANDOM.uniform(0.5, 1)
                )
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _follow(self) -> None:
        """Tell of changes until the stream is lost: then raise."""
        stream = self._stream
        if stream is None:
            stream = self._open_stream()
            self._adopt(stream)
        try:
            for changes in stream.changes():
                self._tell(changes)
        finally:
            self._stream = None
            stream.close()

    def _adopt(self, stream: etcd_stream.Stream) -> None:
        with self._condition:
            self._stream = stream
            closed = self._closed
        if closed:
            stream.stop()
        else:
            LOG.info(
                'Watch of %s: goes on at %s', self._prefix, stream.endpoint
            )
            self._tell(None)

    def _tell(self, changes: Sequence[contract.Change] | None) -> None:
        """Pass changes on; None: it is unknown which."""
        with self._condition:
            if changes is None:
                self._changes = None
            elif self._changes is not None:
                self._changes.update((each.key, each) for each in changes)
                if len(self._changes) > _MOST_CHANGES:
                    self._changes = None
            self._news = True
            self._condition.notify_all()
