# SPDX-License-Identifier: Apache-2.0
"""Reads the bytes of a copy on a disk of this host."""

import os
from collections.abc import Iterator


class ChunkedFile:
    """The bytes of a file from an offset on, in chunks; closes itself.

    ``size`` is that of the whole file, in bytes.

    :param length: bytes to give, None for all that follow
    :raises OSError: if the file cannot be opened
    """

    def __init__(
        self, path: str, offset: int, chunk_size: int, length: int | None
    ) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._fd).st_size
        self._offset = offset
        self._chunk_size = chunk_size
        self._end = None if length is None else offset + length

    def __iter__(self) -> Iterator[bytes]:
        try:
            while self._fd >= 0:
                size = self._chunk_size
                if self._end is not None:
                    size = min(size, self._end - self._offset)
                chunk = os.pread(self._fd, size, self._offset)
                if not chunk:
                    return
                self._offset += len(chunk)
                yield chunk
        finally:
            self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        fd, self._fd = getattr(self, '_fd', -1), -1
        if fd >= 0:
            os.close(fd)
