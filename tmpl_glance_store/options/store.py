# SPDX-License-Identifier: Apache-2.0
"""The options that Glance and the agent share, read into one value.

The driver registers them in its backend's group (glance_store does that with
``OPTIONS``), the agent in ``[tmpl]``: the names are the same everywhere.
Nothing is registered at import.
"""

import dataclasses
import socket
from typing import Any

from oslo_config import cfg

from tmpl_glance_store import objects
from tmpl_glance_store.options import checks
from tmpl_glance_store.options import locations as location_options
from tmpl_glance_store.options import placement
from tmpl_glance_store.options import tls
from tmpl_glance_store.options import uploads

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
    cfg.StrOpt(
        'tmpl_store_catalog',
        default='sqlite:////var/lib/tmpl/catalog.sqlite',
        help="""
URL of the catalog, which knows the templates and the images bound to them.

``sqlite:///<absolute path>`` serves all processes of one machine. Keep the
file on a disk that survives, and back it up: it holds the tokens that make
the location URLs unforgeable.
""",
    ),
    *placement.OPTS,
    *uploads.OPTS,
    *location_options.DIRECTORY_OPTS,
    *uploads.CHUNK_OPTS,
    *tls.OPTS,
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
    """All options of one store, checked; see the option helps for units."""

    cluster: str
    node: str
    locations: tuple[location_options.LocationSpec, ...]
    catalog: str
    placement: str
    copies: int
    min_copies: int
    write_timeout: int
    reserve: float
    directory_mode: int
    group: int | None
    chunk_size: int
    tls_ca: str | None
    tls_certificate: str | None
    tls_key: str | None
    read_timeout: int


def read(conf: Any, default_cluster: str = DEFAULT_CLUSTER) -> Options:
    """Return the checked options of the option group *conf*.

    :param conf: an object with one attribute an option
    :param default_cluster: the cluster's name unless the option is set
    :raises BadConfiguration: if a value makes no sense; says which and why
    """
    with checks.refused():
        return Options(
            cluster=checks.name(
                'tmpl_store_cluster',
                objects.CLUSTER,
                conf.tmpl_store_cluster or default_cluster,
            ),
            node=checks.name(
                'tmpl_store_node',
                objects.NODE,
                conf.tmpl_store_node or socket.gethostname(),
            ),
            locations=location_options.parse(conf.tmpl_store_locations or ()),
            catalog=conf.tmpl_store_catalog,
            placement=conf.tmpl_store_placement,
            copies=conf.tmpl_store_copies,
            min_copies=uploads.min_copies(conf),
            write_timeout=conf.tmpl_store_write_timeout,
            reserve=conf.tmpl_store_reserve,
            directory_mode=location_options.directory_mode(
                conf.tmpl_store_directory_mode
            ),
            group=checks.group('tmpl_store_group', conf.tmpl_store_group),
            chunk_size=conf.tmpl_store_chunk_size,
            tls_ca=conf.tmpl_store_tls_ca,
            tls_certificate=conf.tmpl_store_tls_certificate,
            tls_key=conf.tmpl_store_tls_key,
            read_timeout=conf.tmpl_store_read_timeout,
        )
