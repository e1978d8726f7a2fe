# SPDX-License-Identifier: Apache-2.0
"""Checks of values that several groups of options share.

Each takes the name of the option, and says it when the value is refused.
"""

import contextlib
import grp
import re
from collections.abc import Iterator

from oslo_config import cfg

from tmpl_glance_store import exceptions


@contextlib.contextmanager
def refused(prefix: str = '') -> Iterator[None]:
    """Translate what oslo.config says of a value.

    :param prefix: of the message, such as the option group
    :raises BadConfiguration: says which option, and why
    """
    try:
        yield
    except (cfg.Error, ValueError) as exc:
        raise exceptions.BadConfiguration(f'{prefix}{exc}') from exc


def name(option: str, pattern: re.Pattern[str], value: str) -> str:
    """Return *value* in lower case if it matches *pattern*."""
    value = value.lower()
    if not pattern.fullmatch(value):
        raise exceptions.BadConfiguration(
            f'{option}: {value!r} must match {pattern.pattern}'
        )
    return value


def group(option: str, text: str | None) -> int | None:
    """Return the number of a group of this host; None if none is set."""
    if not text:
        return None
    try:
        return int(text) if text.isdigit() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise exceptions.BadConfiguration(
            f'{option}: no group {text!r} on this host'
        ) from None
