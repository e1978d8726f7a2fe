# SPDX-License-Identifier: Apache-2.0
"""A compute node with real agents and Nova's own code around it.

Real agents, real Nova (the image back ends, the locks, the cache manager, the
format inspector), real qemu-img and real file systems. Only Glance is
replaced: what is downloaded from it is counted, and should be nothing.
"""

import dataclasses
import pathlib
from typing import Any

from harness import agents
from harness import host as hosts
from harness.nova import Nova
from harness.waiting import eventually
from tmpl_glance_store.imagecache import states


@dataclasses.dataclass
class Site:
    """A compute node: its agent, its Nova, and the cluster around it."""

    root: pathlib.Path
    cluster: agents.Cluster
    agent: agents.Agent
    nova: Nova

    def upload(self, data: bytes) -> str:
        """Upload an image as Glance would; return its id."""
        image_id = hosts.new_id()
        hosts.add(self.agent.host.parts(), data, image_id)
        return image_id

    def delete(self, image_id: str) -> None:
        """Delete an image as Glance would."""
        parts = self.agent.host.parts()
        image = hosts.url_of(parts, image_id)
        hosts.remove(parts, image)

    def state(self, image_id: str) -> dict[str, Any]:
        """Return what the agent says of an image."""
        return next(
            (
                each
                for each in self.agent.status()['images']
                if each['image'] == image_id
            ),
            {'state': None},
        )

    def becomes(self, image_id: str, state: str) -> dict[str, Any]:
        """Wait until the agent says that an image is in a state."""
        assert eventually(
            lambda: self.state(image_id)['state'] == state, agents.LONG
        ), (self.state(image_id), state)
        return self.state(image_id)

    def publish(self, data: bytes) -> str:
        """Upload an image, and wait for its base file."""
        image_id = self.upload(data)
        self.becomes(image_id, states.PUBLISHED)
        return image_id

    def copy(self) -> pathlib.Path:
        """Return the directory of the only copy."""
        (copy,) = self.agent.host.copies()
        return copy
