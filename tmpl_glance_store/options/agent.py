# SPDX-License-Identifier: Apache-2.0
"""What ``tmpl-agent`` reads on top of the options of the store."""

import dataclasses
from typing import Any

from oslo_config import cfg

from tmpl_glance_store.options import checks

AGENT_OPTS = [
    cfg.HostAddressOpt(
        'tmpl_store_agent_host',
        default='127.0.0.1',
        help="""
Address of this node at which the other nodes reach its agent.

The default keeps the agent to this machine; any other address needs TLS.
""",
    ),
    cfg.PortOpt(
        'tmpl_store_api_port',
        default=9780,
        help="""
Port of the agent's API: template bytes, status, metrics. 0: any free one.

All nodes may use the same; the catalog tells them of each other's.
""",
    ),
    cfg.PortOpt(
        'tmpl_store_swarm_port',
        default=9781,
        help="""
Port at which the agent takes peers of the swarm. 0: any free one.

All nodes may use the same; the catalog tells them of each other's.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_upload_limit',
        default=0,
        min=0,
        mutable=True,
        help="""
Bytes per second that the agent sends to other nodes at most; 0: no limit.

Reread on SIGHUP, like the other limits.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_download_limit',
        default=0,
        min=0,
        mutable=True,
        help="""
Bytes per second that the agent fetches at most; 0: no limit.

Set it where templates share a link with the VMs' own traffic.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_transfers',
        default=4,
        min=1,
        max=64,
        help="""
Templates that the agent fetches at a time; the others wait.

More finish together, fewer finish the first one sooner.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_lease',
        default=15,
        min=3,
        help="""
Seconds after which a node that does not answer any more counts as away.

Shorter notices a failure sooner, longer rides out a pause of the catalog.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_rebuild_delay',
        default=3600,
        min=0,
        help="""
Seconds that a node may be away before others take over its copies.

Long enough for a reboot or a repair: its copies come back with it.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_interval',
        default=60,
        min=1,
        mutable=True,
        help="""
Seconds between two looks at the disks when nothing else wakes the agent.

Changes in the catalog wake it at once, whatever the interval.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_scrub_rate',
        default=20 << 20,
        min=0,
        mutable=True,
        help="""
Bytes per second that the scrubber reads to prove copies again; 0: never.

It should be able to read a full disk within ``tmpl_store_scrub_period``.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_scrub_period',
        default=7 * 86400,
        min=1,
        mutable=True,
        help="""
Seconds after which a copy is proved again.

A week finds a rotten copy while other nodes still have good ones.
""",
    ),
]


@dataclasses.dataclass(frozen=True)
class AgentOptions:
    """What the agent needs on top of :class:`store.Options`."""

    host: str
    api_port: int
    swarm_port: int
    upload_limit: int
    download_limit: int
    transfers: int
    lease: int
    rebuild_delay: int
    interval: int
    scrub_rate: int
    scrub_period: int


def read(conf: Any) -> AgentOptions:
    """Return the checked options of the agent in the group *conf*.

    :raises BadConfiguration: if a value makes no sense
    """
    names = {'host': 'agent_host'}
    with checks.refused():
        return AgentOptions(
            **{
                field.name: getattr(
                    conf, f'tmpl_store_{names.get(field.name, field.name)}'
                )
                for field in dataclasses.fields(AgentOptions)
            }
        )
