# SPDX-License-Identifier: Apache-2.0
"""The directories for templates on the disks of this node."""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterable
from typing import Any

from oslo_config import cfg

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.options import checks

#: The tier of a location whose disk the kernel is asked about.
AUTO = 'auto'

OPTS = [
    cfg.MultiStrOpt(
        'tmpl_store_locations',
        default=[],
        help="""
A directory for templates on a disk of this node, as
``<tier>:<path>[:<weight>]``; give the option once for each disk.

``tier`` is ``ssd``, ``hdd``, ``staging`` (only holds what was just uploaded,
until its targets have it) or ``auto``, which asks the kernel whether the disk
beneath ``path`` rotates, through partitions, device mapper and md. ``weight``
is in GiB and defaults to the size of the file system: a location gets
templates in proportion to it. Example::

    tmpl_store_locations = ssd:/srv/ssd0/tmpl
    tmpl_store_locations = ssd:/srv/ssd1/tmpl:800

There is no default: templates are large, and only you know the right disk.
""",
    ),
]

#: How a location is kept; after the uploads' options in the sample.
DIRECTORY_OPTS = [
    cfg.FloatOpt(
        'tmpl_store_reserve',
        default=5.0,
        min=0.0,
        max=95.0,
        help="""
Free space, in percent of the file system, that uploads leave untouched in
each location.

File systems slow down and neighbours break when a disk is full to the brim.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_directory_mode',
        default='0750',
        help="""
Mode of the location directories, octal.

The directory protects the templates, not the mode of the files in it: libvirt
changes the owner of a file that a guest uses. The owner needs all rights, and
others should have none.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_group',
        help="""
Group, by name or number, that owns the location directories.

Set it to a group that glance, nova and the hypervisor's user share when
guests are to read the templates in place. Default: the process's own group.
""",
    ),
]


@dataclasses.dataclass(frozen=True)
class LocationSpec:
    """One value of ``tmpl_store_locations``; ``weight`` in GiB or None."""

    tier: str
    path: str
    weight: float | None

    @classmethod
    def parse(cls, text: str) -> 'LocationSpec':
        """Return the location that *text* describes.

        :raises BadConfiguration: if it is not ``<tier>:<path>[:<weight>]``
        """
        match = re.fullmatch(
            r'\s*(\w+):(/[^:]*?)(?::([0-9]+(?:\.[0-9]+)?))?\s*', text
        )
        if not match:
            raise exceptions.BadConfiguration(
                f'tmpl_store_locations: {text!r} is not <tier>:<absolute '
                f'path>[:<weight in GiB>], for example ssd:/srv/ssd0/tmpl'
            )
        tier, path, weight = match.groups()
        if tier not in (AUTO, *objects.TIERS):
            raise exceptions.BadConfiguration(
                f'tmpl_store_locations: unknown tier {tier!r} in {text!r}; '
                f'use auto, ssd, hdd or staging'
            )
        if weight is not None and float(weight) <= 0:
            raise exceptions.BadConfiguration(
                f'tmpl_store_locations: the weight in {text!r} must be '
                f'greater than 0'
            )
        return cls(
            tier,
            os.path.normpath(path),
            None if weight is None else float(weight),
        )


@dataclasses.dataclass(frozen=True)
class Locations:
    """The directories of a node, and how they are kept.

    :ivar reserve: free space to leave untouched, in percent
    :ivar group: number of the group that owns them; None: the process's own
    """

    cluster: str
    node: str
    specs: tuple[LocationSpec, ...]
    reserve: float
    directory_mode: int
    group: int | None


def read(conf: Any, *, cluster: str, node: str) -> Locations:
    """Return the checked locations of the option group *conf*.

    :raises BadConfiguration: if a value makes no sense
    """
    return Locations(
        cluster=cluster,
        node=node,
        specs=_specs(conf.tmpl_store_locations or ()),
        reserve=conf.tmpl_store_reserve,
        directory_mode=_mode(conf.tmpl_store_directory_mode),
        group=checks.group('tmpl_store_group', conf.tmpl_store_group),
    )


def _specs(texts: Iterable[str]) -> tuple[LocationSpec, ...]:
    specs = tuple(LocationSpec.parse(text) for text in texts)
    if not specs:
        raise exceptions.BadConfiguration(
            'tmpl_store_locations is not set: name at least one directory, '
            'for example ssd:/srv/ssd0/tmpl'
        )
    real = sorted((os.path.realpath(spec.path), spec.path) for spec in specs)
    for (outer, first), (inner, second) in itertools.combinations(real, 2):
        if os.path.commonpath((outer, inner)) == outer:
            raise exceptions.BadConfiguration(
                f'tmpl_store_locations: {first} and {second} are the same '
                f'directory, or one within the other; give each disk once'
            )
    return specs


def _mode(text: str) -> int:
    if not re.fullmatch(r'0?[0-7]{3,4}', text):
        raise exceptions.BadConfiguration(
            f'tmpl_store_directory_mode: {text!r} is not an octal mode such '
            f'as 0750'
        )
    mode = int(text, 8)
    if mode & 0o700 != 0o700:
        raise exceptions.BadConfiguration(
            f'tmpl_store_directory_mode: {text} locks the store itself out; '
            f'the owner needs all rights (07xx)'
        )
    return mode
