# SPDX-License-Identifier: Apache-2.0
"""A directory that the options name becomes a location of this host."""

from collections.abc import Sequence

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import marker as marker_file
from tmpl_glance_store.options import locations as opts

_GIB = 1 << 30


def attach(
    spec: opts.LocationSpec,
    options: opts.Locations,
    known: Sequence[objects.Location],
) -> local.LocalLocation:
    """Open the location *spec*, a new one if its directory has no marker.

    :param options: of the node: its name, and how locations are kept
    :param known: the locations that the catalog has
    :raises LocationRefused: if it belongs to another node or cluster, if its
        disk seems not to be mounted, or if it cannot be read or written
    """
    where = layout.Paths(spec.path)
    try:
        marker = marker_file.read(where)
        if marker is None:
            marker = marker_file.create(where, spec, options, known)
        marker_file.check_owner(where, marker, options)
        tier = marker_file.tier(spec)
        weight = spec.weight or fsutil.free_bytes(spec.path)[1] / _GIB
    except (OSError, ValueError) as exc:
        raise exceptions.LocationRefused(
            f'location {spec.path}: {exc}'
        ) from exc
    states = {each.id: each.state for each in known}
    return local.LocalLocation(
        objects.Location(
            marker.location_id,
            marker.node,
            tier,
            spec.path,
            round(weight, 3),
            states.get(marker.location_id, objects.ACTIVE),
        ),
        options.reserve,
    )
