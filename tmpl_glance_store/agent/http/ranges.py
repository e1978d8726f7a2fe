# SPDX-License-Identifier: Apache-2.0
"""The part of a template that a request asks for (RFC 9110, section 14)."""

import re

import werkzeug.exceptions
from werkzeug import wrappers

_RANGE = re.compile(r'bytes=\s*([0-9]{0,19})-([0-9]{0,19})\s*', re.IGNORECASE)


def extent_of(
    request: wrappers.Request, digest: str, size: int
) -> tuple[int, int] | None:
    """Return (start, end) of the bytes asked for, None for the whole.

    A single range is served. Another unit is ignored, as RFC 9110 wants it;
    several ranges, or none that makes sense, are refused, as it allows.
    """
    text = request.headers.get('Range')
    if (
        text is None
        or request.method != 'GET'
        or not text.lower().startswith('bytes=')
    ):
        return None
    if 'If-Range' in request.headers and request.if_range.etag != digest:
        return None
    match = _RANGE.fullmatch(text)
    first, last = match.groups() if match else ('', '')
    if first:
        start, end = int(first), int(last) + 1 if last else size
    else:
        start, end = max(size - int(last or 0), 0), size
    if start >= min(end, size):
        raise werkzeug.exceptions.RequestedRangeNotSatisfiable(size)
    return start, min(end, size)
