# SPDX-License-Identifier: Apache-2.0
"""The options that Glance and the agent share, read into one value.

The driver registers them in its backend's group (glance_store does that with
``OPTIONS``), the agent in ``[tmpl]``: the names are the same everywhere.
Nothing is registered at import.
"""

import dataclasses
import socket

from oslo_config import cfg

from tmpl_glance_store import objects
from tmpl_glance_store.options import catalog as catalog_options
from tmpl_glance_store.options import checks
from tmpl_glance_store.options import locations as location_options
from tmpl_glance_store.options import placement as placement_options
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import tls as tls_options
from tmpl_glance_store.options import uploads as upload_options

DEFAULT_CLUSTER = 'tmpl'

#: In the order of the sample.
STORE_OPTS = [
    cfg.StrOpt(
        'tmpl_store_cluster',
        help="""
Name of the cluster whose templates this store serves.

All nodes that share templates have the same name here. It is part of each
image's location URL: changing it later makes existing images unreachable.
Lower-case letters, digits, ``-`` and ``_``. Default: the identifier of the
backend (its name in ``enabled_backends``), so that several tmpl backends in
one Glance keep apart; ``tmpl`` in the single-store configuration.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_node',
        help="""
Name of this node in the catalog.

Set it when the host name may change or is not unique: a location directory
remembers its node and is refused by another one. Default: the host name.
""",
    ),
    *location_options.OPTS,
    *catalog_options.OPTS,
    *placement_options.OPTS,
    *upload_options.OPTS,
    *location_options.DIRECTORY_OPTS,
    *upload_options.CHUNK_OPTS,
    *tls_options.OPTS,
    cfg.IntOpt(
        'tmpl_store_read_timeout',
        default=10,
        min=1,
        help="""
Seconds without a byte after which another holder is asked.

Raise it if nodes are so busy that reads fail over for no other reason.
""",
    ),
]


@dataclasses.dataclass(frozen=True)
class Options:
    """All options of one store, checked, by who reads them.

    :ivar read_timeout: in seconds
    """

    cluster: str
    node: str
    locations: location_options.Locations
    catalog: catalog_options.Catalog
    placement: placement_options.Placement
    uploads: upload_options.Uploads
    tls: tls_options.Tls
    read_timeout: int


def read(
    group: plugins.Group, default_cluster: str = DEFAULT_CLUSTER
) -> Options:
    """Return the checked options of a store.

    :param group: takes our options, and those that plug-ins bring
    :param default_cluster: the cluster's name unless the option is set
    :raises BadConfiguration: if a value makes no sense; says which and why
    """
    brought = plugins.reader(group)
    with checks.refused():
        found = group(STORE_OPTS)
        cluster = checks.name(
            'tmpl_store_cluster',
            objects.CLUSTER,
            found.tmpl_store_cluster or default_cluster,
        )
        node = checks.name(
            'tmpl_store_node',
            objects.NODE,
            found.tmpl_store_node or socket.gethostname(),
        )
        return Options(
            cluster=cluster,
            node=node,
            locations=location_options.read(found, cluster=cluster, node=node),
            catalog=catalog_options.read(found, brought),
            placement=placement_options.read(found, brought),
            uploads=upload_options.read(found),
            tls=tls_options.read(found),
            read_timeout=found.tmpl_store_read_timeout,
        )
