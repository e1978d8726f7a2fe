# SPDX-License-Identifier: Apache-2.0
"""What oslo-config-generator and the documentation list.

The entry points ``oslo.config.opts`` of setup.cfg lead here.
"""

from oslo_config import cfg

from tmpl_glance_store.options import agent
from tmpl_glance_store.options import nova_opts
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store


def list_store_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of a Glance backend."""
    return [('tmpl', _store())]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return all options, those of an agent."""
    return [
        ('tmpl', _store() + agent.AGENT_OPTS),
        ('nova', nova_opts.NOVA_OPTS),
    ]


def _store() -> list[cfg.Opt]:
    return [
        *store.STORE_OPTS,
        *plugins.our_own('placement'),
        *plugins.our_own('catalog'),
    ]
