# SPDX-License-Identifier: Apache-2.0
"""What an error of the system means, and what is free."""

import errno
import os
import types

import pytest

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil


@pytest.mark.parametrize(
    ('number', 'error'),
    [
        (errno.ENOSPC, exceptions.NoSpace),
        (errno.EDQUOT, exceptions.NoSpace),
        (errno.EFBIG, exceptions.NoSpace),
        (errno.EACCES, exceptions.WriteDenied),
        (errno.EPERM, exceptions.WriteDenied),
        (errno.EROFS, exceptions.WriteDenied),
        (errno.EIO, OSError),
        (errno.ENOENT, FileNotFoundError),
    ],
)
def test_an_os_error_tells_what_to_do(number, error):
    cause = OSError(number, os.strerror(number))
    with pytest.raises(error) as info, fsutil.os_errors():
        raise cause
    assert cause in (info.value, info.value.__cause__)
    assert os.strerror(number) in str(info.value)


def test_free_bytes_are_those_of_an_unprivileged_user(monkeypatch):
    monkeypatch.setattr(
        os,
        'statvfs',
        lambda path: types.SimpleNamespace(
            f_bavail=3, f_bfree=5, f_blocks=10, f_frsize=512, f_bsize=4096
        ),
    )
    assert fsutil.free_bytes('/') == (3 * 512, 10 * 512)
