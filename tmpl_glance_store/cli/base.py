# SPDX-License-Identifier: Apache-2.0
"""What the commands share: the catalog, and how figures are shown."""

import argparse
import time
from collections.abc import Iterable, Iterator
from typing import Any

from cliff import lister
from cliff import show

from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog as catalog_domain
from tmpl_glance_store.catalog import snapshot as catalog_snapshot
from tmpl_glance_store.options import store as opts
from tmpl_glance_store.placement import contract as placement


class _OnCluster:
    """A command that looks at the cluster of the configuration."""

    app: Any

    @property
    def catalog(self) -> catalog_domain.Catalog:
        """What the cluster knows."""
        catalog: catalog_domain.Catalog = self.app.catalog
        return catalog

    @property
    def options(self) -> opts.Options:
        """The options of this node."""
        options: opts.Options = self.app.store_options
        return options


class Lister(_OnCluster, lister.Lister):
    """A command that shows rows; ``-f json`` and the like come from cliff."""


class ShowOne(_OnCluster, show.ShowOne):
    """A command that shows one thing; see :class:`Lister`."""


class NodeCommand(Lister):
    """A command that changes the locations of one node, and shows them."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument('node', help='its name, as in node list')
        return parser

    @staticmethod
    def show(
        locations: Iterable[objects.Location],
    ) -> tuple[tuple[str, ...], Iterator[Any]]:
        """Return (columns, rows)."""
        return (
            ('Location', 'Node', 'Tier', 'Path', 'State'),
            (
                (each.id, each.node, each.tier, each.path, each.state)
                for each in locations
            ),
        )


class PinCommand(ShowOne):
    """A command that pins a template, or unpins it, and shows what is."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'template', help='image id, digest, or the beginning of a digest'
        )
        return parser

    def pin(
        self, name: str, pinned: bool
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return (names, values)."""
        template = template_of(self.catalog.snapshot(), name).template
        record = self.catalog.bindings.pin(template.digest, pinned)
        return (
            ('digest', 'pinned', 'images'),
            (record.template.digest, record.pinned, list(record.images)),
        )


def policy(
    options: opts.Options,
    cluster: catalog_snapshot.Snapshot,
    pinned: bool = False,
) -> placement.Policy:
    """Return the placement policy over the cluster's locations.

    :param pinned: the one for pinned templates
    """
    return factory.build_policy(
        options.placement.everywhere() if pinned else options.placement,
        list(cluster.locations.values()),
    )


def template_of(
    cluster: catalog_snapshot.Snapshot, name: str
) -> objects.TemplateRecord:
    """Return the template of an image id, a digest or its beginning.

    :raises NotFound: if there is no such template
    :raises Invalid: if the beginning fits several
    """
    images = {
        image_id.lower(): digest
        for image_id, digest in cluster.images().items()
    }
    if name.lower() in images:
        return cluster.templates[images[name.lower()]]
    found = [each for each in cluster.templates if each.startswith(name)]
    if len(found) > 1:
        raise exceptions.Invalid(
            f'{name} is the beginning of {len(found)} digests; give more'
        )
    if not found:
        raise exceptions.NotFound(f'no image or template {name}')
    return cluster.templates[found[0]]


def moment(seconds: float | None) -> str:
    """Return a point in time as people write it, in UTC."""
    if seconds is None:
        return ''
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(seconds))
