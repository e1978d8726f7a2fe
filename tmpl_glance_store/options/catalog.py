# SPDX-License-Identifier: Apache-2.0
"""Where the catalog of the cluster is."""

import dataclasses
from typing import Any

from oslo_config import cfg

from tmpl_glance_store.options import plugins

OPTS = [
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
]


@dataclasses.dataclass(frozen=True)
class Catalog:
    """The catalog's URL, and the options of its driver.

    :ivar brought: reads the options that the driver brings
    """

    url: str
    brought: plugins.Reader = plugins.defaults


def read(conf: Any, brought: plugins.Reader) -> Catalog:
    """Return where the catalog is, by the option group *conf*."""
    return Catalog(conf.tmpl_store_catalog, brought)
