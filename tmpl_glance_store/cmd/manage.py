# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage``: the operator's window on a cluster.

Exit codes: 0 done, 1 failed (the message says why), 2 wrong arguments.
"""

import argparse
import sys
from typing import Any

from cliff import app
from cliff import commandmanager
from oslo_config import cfg

from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import version
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.localstore import memory
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store as opts


class Manage(app.App):
    """Finds the commands in the entry points ``tmpl_glance_store.cli``."""

    def __init__(self) -> None:
        super().__init__(
            description='See where the templates of a cluster are.',
            version=version.RELEASE,
            deferred_help=True,
            command_manager=commandmanager.CommandManager(
                'tmpl_glance_store.cli'
            ),
        )
        self.store_options: opts.Options
        self.catalog: catalog.Catalog

    def build_option_parser(
        self, *args: Any, **kwargs: Any
    ) -> argparse.ArgumentParser:
        """Return the parser of the global options."""
        parser = super().build_option_parser(*args, **kwargs)
        parser.add_argument(
            '--config-file',
            action='append',
            metavar='PATH',
            help='as given to tmpl-agent or glance-api (repeatable)',
        )
        parser.add_argument(
            '--group',
            default='tmpl',
            metavar='NAME',
            help='its option group: tmpl, or the backend in glance-api.conf',
        )
        return parser

    def prepare_to_run_command(self, cmd: Any) -> None:
        """Read the configuration, unless only help is wanted."""
        if not hasattr(type(cmd), 'catalog'):
            return
        conf = cfg.ConfigOpts()
        group = self.options.group
        conf(
            [],
            project='tmpl',
            prog='tmpl-agent',
            default_config_files=self.options.config_file,
        )
        self.store_options = opts.read(
            plugins.group_of(conf, group), default_cluster=group
        )
        # Who looks first, perhaps as root, must not make a catalog that the
        # services then cannot write.
        self.catalog = factory.build_catalog(
            self.store_options,
            lambda: memory.remembered(
                spec.path for spec in self.store_options.locations.specs
            ),
            create=False,
        )


def main(argv: list[str] | None = None) -> int:
    """Run a command; return the exit code."""
    try:
        return Manage().run(sys.argv[1:] if argv is None else argv)
    except (exceptions.TmplError, cfg.Error) as exc:
        print(f'tmpl-manage: {exc}', file=sys.stderr)
        return 1
