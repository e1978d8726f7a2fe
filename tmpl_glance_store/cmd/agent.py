# SPDX-License-Identifier: Apache-2.0
"""``tmpl-agent``: keeps the templates of one node as they should be."""

import signal
import sys
import threading

from oslo_config import cfg
from oslo_log import log as logging

from tmpl_glance_store import agent_factory
from tmpl_glance_store import exceptions
from tmpl_glance_store.agent import service
from tmpl_glance_store.options import agent as agent_opts
from tmpl_glance_store.options import nova
from tmpl_glance_store.options import nova_opts
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store as opts

LOG = logging.getLogger(__name__)

_PATIENCE = 9  # seconds; systemd and operators expect an end within 10

_CLI_OPTS = [
    cfg.StrOpt(
        'group',
        default='tmpl',
        help="""
Option group to read: [tmpl] of a file of the agent's own, or the group of a
tmpl backend in glance-api.conf.
""",
    ),
]


def main(argv: list[str] | None = None) -> int:
    """Run an agent until SIGTERM or SIGINT; return the exit code.

    0: ended as asked; 1: the configuration is wrong, or the agent broke
    down; the log says how.
    """
    conf = cfg.ConfigOpts()
    logging.register_options(conf)
    conf.register_cli_opts(_CLI_OPTS)
    conf(
        sys.argv[1:] if argv is None else argv,
        project='tmpl',
        prog='tmpl-agent',
    )
    logging.setup(conf, 'tmpl-agent')
    conf.register_opts(
        opts.STORE_OPTS + agent_opts.AGENT_OPTS, group=conf.group
    )
    conf.register_opts(nova_opts.NOVA_OPTS, group='nova')
    try:
        agent = agent_factory.build_agent(
            *_options(conf), nova.read(conf.nova)
        )
    except exceptions.BadConfiguration as exc:
        LOG.error('tmpl-agent cannot start: %s', exc)
        print(f'tmpl-agent: {exc}', file=sys.stderr)
        return 1
    return _serve(conf, agent)


def _options(
    conf: cfg.ConfigOpts,
) -> tuple[opts.Options, agent_opts.AgentOptions]:
    # A backend of Glance is its own cluster by default: see options/store.py.
    return (
        opts.read(
            plugins.group_of(conf, conf.group), default_cluster=conf.group
        ),
        agent_opts.read(conf[conf.group]),
    )


def _serve(conf: cfg.ConfigOpts, agent: service.Service) -> int:
    """Run *agent* in a thread, and wait here for signals."""
    # No handlers: one that interrupts a lock's owner could not take it.
    awaited = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    thread = threading.Thread(target=agent.run, name='agent', daemon=True)
    thread.start()
    while thread.is_alive():
        received = signal.sigtimedwait(awaited, 1)
        # After a SIGCONT, CPython 3.11 may give one that was never sent.
        if received is None or received.si_signo not in awaited:
            continue
        if received.si_signo == signal.SIGHUP:
            _reload(conf, agent)
        else:
            agent.stop()
            thread.join(_PATIENCE)
            return 0
    return 1


def _reload(conf: cfg.ConfigOpts, agent: service.Service) -> None:
    try:
        conf.mutate_config_files()
        agent_factory.reload_agent(agent, _options(conf)[1])
    except (cfg.Error, exceptions.BadConfiguration) as exc:
        LOG.error('Nothing was changed: %s', exc)
