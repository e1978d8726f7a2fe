# SPDX-License-Identifier: Apache-2.0
"""The marker file of a location: whose directory this is."""

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Sequence

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store import schema
from tmpl_glance_store.options import locations as opts
from tmpl_glance_store.schema import field


@dataclasses.dataclass(frozen=True)
class Marker(schema.Record):
    """The file ``location.json``: whose directory this is."""

    id: str = field(schema.text('[a-z0-9-]{1,36}'))
    cluster: str = field(schema.text(objects.CLUSTER))
    node: str = field(schema.text(objects.NODE))
    tier: str = field(schema.choice(*objects.TIERS))

    @property
    def location_id(self) -> str:
        """The id of the location: its own, below that of its node."""
        return f'{self.node}/{self.id}'


def read(where: layout.Paths) -> Marker | None:
    """Return the marker of a location, None if it has none.

    :raises OSError, ValueError: if it cannot be read, or makes no sense
    """
    try:
        with open(where.marker, 'rb') as file:
            return Marker.from_json(file.read())
    except FileNotFoundError:
        return None


def create(
    where: layout.Paths,
    spec: opts.LocationSpec,
    options: opts.Locations,
    known: Sequence[objects.Location],
) -> Marker:
    """Make a new location, with a marker file, and return that.

    :raises LocationRefused: if the disk that the catalog knows seems not to
        be mounted
    """
    _check_mounted(where, spec, options, known)
    os.makedirs(where.root, exist_ok=True)
    if options.group is not None:
        os.chown(where.root, -1, options.group)
    os.chmod(where.root, options.directory_mode)
    for directory in where.directories:
        fsutil.make_directory(directory)
    marker = Marker(
        str(uuid.uuid4()), options.cluster, options.node, tier(spec)
    )
    # Another process may be doing the same: the first one wins.
    fsutil.create_durably(where.marker, marker.to_json())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(where.replaced)
    created = read(where)
    assert created is not None
    return created


def _check_mounted(
    where: layout.Paths,
    spec: opts.LocationSpec,
    options: opts.Locations,
    known: Sequence[objects.Location],
) -> None:
    """Refuse a directory at whose path the catalog knows another one."""
    if os.path.exists(where.replaced):
        return
    for each in known:
        if each.node == options.node and each.path == spec.path:
            raise exceptions.LocationRefused(
                f'location {spec.path}: the catalog knows it as '
                f'{each.id}, but its marker file {where.marker} is gone. '
                f'If the disk is not mounted, mount it. If it was '
                f'replaced by an empty one, mount that, create the empty '
                f'file {where.replaced}, and restart.'
            )


def check_owner(
    where: layout.Paths, marker: Marker, options: opts.Locations
) -> None:
    """Make sure that a location is this node's.

    :raises LocationRefused: if it belongs to another node or cluster
    """
    if (marker.cluster, marker.node) != (options.cluster, options.node):
        raise exceptions.LocationRefused(
            f'location {where.root} belongs to node {marker.node!r} of '
            f'cluster {marker.cluster!r}, and this is node {options.node!r} '
            f'of cluster {options.cluster!r}. Give this node another '
            f'directory, or set tmpl_store_node or tmpl_store_cluster back.'
        )


def tier(spec: opts.LocationSpec) -> str:
    """Return the tier of a location; the kernel tells an automatic one."""
    if spec.tier != opts.AUTO:
        return spec.tier
    # What the kernel knows nothing of is not taken for an SSD.
    return objects.SSD if fsutil.rotates(spec.path) is False else objects.HDD
