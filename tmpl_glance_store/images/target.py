# SPDX-License-Identifier: Apache-2.0
"""Where an upload goes on this host."""

from collections.abc import Callable

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.localstore import location as local
from tmpl_glance_store.localstore import staging
from tmpl_glance_store.localstore import store as local_store
from tmpl_glance_store.placement import contract


class Target:
    """Chooses the location of this host that keeps a template.

    :param placement: the name of the policy, for people
    :param make_policy: builds the placement policy from the cluster's
        locations
    """

    def __init__(
        self,
        catalog: catalog_domain.Catalog,
        store: local_store.LocalStore,
        placement: str,
        make_policy: Callable[[list[objects.Location]], contract.Policy],
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._placement = placement
        self._make_policy = make_policy

    def choose(
        self, staged: staging.Staged, template: objects.Template
    ) -> local.LocalLocation:
        """Return the template's target, if that is on this host.

        Else the copy stays where it is, until the nodes that should have it
        have fetched it.

        :raises NoSpace: if no location takes so many bytes
        :raises WriteDenied: if there is none at all, or none can be written
        """
        policy = self._make_policy(self._catalog.locations.all())
        wanted = policy.targets(
            template.position,
            self._store.usable(template.size, staged.directory),
        )
        for record in wanted:
            location = self._store.get(record.id)
            if location is not None:
                return location
        if wanted:
            return self._store.at(staged.paths.root)
        if not policy.targets(template.position):
            raise exceptions.WriteDenied(
                f'placement {self._placement!r} finds no active location in '
                f'the cluster; hash_range needs one of tier ssd '
                f'(tmpl_store_locations, tmpl_store_placement)'
            )
        raise self._store.nowhere(template.size)
