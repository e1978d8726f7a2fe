# SPDX-License-Identifier: Apache-2.0
"""A cluster on paper, and the plans of its nodes."""

from tests import facts
from tmpl_glance_store import objects
from tmpl_glance_store.agent import plan
from tmpl_glance_store.placement import all_nodes
from tmpl_glance_store.placement import contract

#: Three templates, by digest; the plan goes by their order.
TEMPLATES = {
    each.digest: each
    for each in (facts.template(name, 1000) for name in 'abc')
}
T, OTHER, THIRD = sorted(TEMPLATES)
ALL_LIVE = frozenset({'n1', 'n2', 'n3', 'n4'})


class InOrder(contract.Policy):
    """Wants the first usable locations in the order of their ids."""

    def __init__(self, locations, copies):
        self._locations = contract.candidates(locations, objects.SSD)
        self._copies = copies

    def targets(self, position, usable=contract.anywhere):
        assert position in {each.position for each in TEMPLATES.values()}
        nodes = {}
        for location in self._locations:
            if usable(location):
                nodes.setdefault(location.node, location)
        return list(nodes.values())[: self._copies]

    def ranges(self):
        return iter(())


def location(location_id, tier=objects.SSD, state=objects.ACTIVE):
    node, _, name = location_id.partition('/')
    return objects.Location(
        location_id, node, tier, f'/srv/{name}', 100.0, state
    )


def record(digest=T, images=('image',), **fields):
    return objects.TemplateRecord(TEMPLATES[digest], images, **fields)


def deleted(digest=T):
    return record(digest, images=(), deleted_at=1.0)


#: Four nodes with one SSD each; a second disk on n1, and a staging host.
CLUSTER = {
    each.id: each
    for each in (
        location('n1/a1'),
        location('n1/a2', state=objects.DRAINING),
        location('n2/b'),
        location('n3/c'),
        location('n4/d'),
        location('glance/s', objects.STAGING),
    )
}


def plan_of(
    node,
    *,
    templates=None,
    copies=2,
    recorded=None,
    held=None,
    cluster=CLUSTER,
    **seen,
):
    """Return the plan of *node*; *recorded* and *held* are id -> digests."""
    by_digest = {}
    for place, digests in (recorded or {}).items():
        for digest in digests:
            by_digest.setdefault(digest, set()).add(place)
    own = {each.id for each in cluster.values() if each.node == node}
    if held is None:  # the catalog is right
        held = {each: set((recorded or {}).get(each, ())) for each in own}
    observed = plan.Observed(
        node=node,
        templates=[record()] if templates is None else templates,
        locations=cluster,
        copies=by_digest,
        held=held,
        **{'live': ALL_LIVE, **seen},
    )
    locations = list(cluster.values())
    return plan.make(
        observed, InOrder(locations, copies), all_nodes.AllNodes(locations, 1)
    )


def actions(node, **seen):
    return list(plan_of(node, **seen).actions)


SPARED = {'n1/a1': [T], 'n2/b': [T], 'n3/c': [T]}
