# SPDX-License-Identifier: Apache-2.0
"""The swarm: templates travel between nodes by BitTorrent v2.

:class:`Swarm` is the way in, and keeps what ``contract`` promises.
"""

from tmpl_glance_store.swarm.contract import Peer
from tmpl_glance_store.swarm.progress import Progress
from tmpl_glance_store.swarm.session import Swarm

__all__ = ('Peer', 'Progress', 'Swarm')
