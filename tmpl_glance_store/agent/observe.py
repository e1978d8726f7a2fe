# SPDX-License-Identifier: Apache-2.0
"""What a node knows when it plans; looking changes nothing."""

import os

from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store.agent import base_files
from tmpl_glance_store.agent import plan
from tmpl_glance_store.catalog.snapshot import Snapshot
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import store as local_store


def well(store: local_store.LocalStore) -> list[local.LocalLocation]:
    """Return the locations whose disks are there.

    Of the others nothing is known: their copies stay recorded, and nothing is
    fetched to them.
    """
    return [location for location in store.locations if location.is_well()]


def observe(
    now: Snapshot,
    *,
    node: str,
    store: local_store.LocalStore,
    gone: frozenset[str],
    demand: base_files.Demand,
) -> plan.Observed:
    """Return what the catalog, the disks and Nova say together.

    :param gone: the nodes that are to be replaced
    :param demand: what Nova makes of the templates
    """
    here = well(store)
    others = {name: each for name, each in now.nodes.items() if name != node}

    def has_room(record: objects.Location, size: int) -> bool:
        location = store.get(record.id)
        return (
            location is not None
            and location.is_well()
            and location.is_writable()
            and location.has_room(size)
        )

    return plan.Observed(
        node=node,
        templates=now.templates.values(),
        locations=now.locations,
        copies={
            digest: {
                each.location_id for each in copies.values() if each.complete
            }
            for digest, copies in now.copies.items()
        },
        held={location.record.id: location.held() for location in here},
        live=frozenset(now.nodes),
        gone=gone,
        fetching=frozenset(
            digest for each in others.values() for digest in each.fetching
        ),
        full={name: frozenset(each.full) for name, each in others.items()},
        low=frozenset(
            location.record.id for location in here if not location.has_room(0)
        ),
        wished=demand.wished,
        spare=demand.spare,
        last_used=_last_used(here),
        arrived={
            (location.record.id, digest): bytes_on_disk(
                location.paths.fetch(digest)
            )
            for location in here
            for digest in location.paths.fetches()
        },
        has_room=has_room,
        doubt=now.doubt,
    )


def _last_used(here: list[local.LocalLocation]) -> dict[str, float]:
    return {
        digest: location.last_used(digest)
        for location in here
        if not location.has_room(0)
        for digest in location.held()
    }


def bytes_on_disk(directory: str) -> int:
    """Return what the image of an unfinished fetch takes."""
    try:
        return os.stat(os.path.join(directory, layout.IMAGE)).st_blocks * 512
    except OSError:
        return 0
