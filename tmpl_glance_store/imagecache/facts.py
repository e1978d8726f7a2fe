# SPDX-License-Identifier: Apache-2.0
"""What one look at the path of a base file shows."""

import dataclasses
import hashlib
import os

from tmpl_glance_store import exceptions
from tmpl_glance_store.imagecache import entries
from tmpl_glance_store.imagecache import ledger


def base_name(image_id: str) -> str:
    """Return the name of an image's base file.

    Source: ``get_cache_fname`` in nova/virt/libvirt/imagecache.py.
    """
    return hashlib.sha1(image_id.encode(), usedforsecurity=False).hexdigest()


@dataclasses.dataclass(frozen=True)
class Facts:
    """What there is at a path.

    ``taken``: there is something of that name, if only a link that leads
    nowhere. ``there``: there is a file. ``ours``: it is the very one, or the
    link, of its entry. ``touched_at`` is the time of such a file, in seconds
    since the epoch. ``leads_to`` is the digest of what a symbolic link of ours
    leads, or led, to; None if it is nothing of the kind.
    """

    taken: bool = False
    there: bool = False
    ours: bool = False
    touched_at: float = 0.0
    leads_to: str | None = None


def look(path: str, entry: entries.Entry | None = None) -> Facts:
    """Return what there is at *path*.

    :param entry: what is known of the base file that we have put there
    :raises OSError: if that cannot be known
    """
    there = os.path.exists(path)
    ours = entry is not None and entry.is_there()
    return Facts(
        taken=os.path.lexists(path),
        there=there,
        ours=ours,
        touched_at=os.stat(path).st_mtime if there and ours else 0.0,
        leads_to=ledger.held_content(path),
    )


def touch(path: str) -> None:
    """Tell Nova's cache manager that a base file is in use.

    :raises WriteDenied: if the agent may not; Nova will remove it
    """
    try:
        os.utime(path)
    except PermissionError as exc:
        raise exceptions.WriteDenied(
            f'{path} cannot be touched: Nova will remove it as unused '
            f'({exc.strerror}); libvirt has given it to another user: '
            f'give the agent CAP_FOWNER'
        ) from exc
