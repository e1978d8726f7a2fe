# SPDX-License-Identifier: Apache-2.0
"""A Glance and its client, as the demo drives them."""

import json
import os
import pathlib
import subprocess
from importlib import metadata
from typing import Any

from harness import glance
from harness import programs
from tools import stage


class Cloud:
    """The real Glance API with one store, and the real OpenStack client.

    :param root: a directory for Glance
    :param options: of the store
    """

    def __init__(
        self, scene: stage.Stage, root: pathlib.Path, options: dict[str, Any]
    ) -> None:
        self._scene, self._say = scene, scene.say
        self.server = glance.GlanceServer(
            root,
            processes=2,
            threads=4,
            backends={'fast': 'tmpl'},
            sections={'fast': options},
        )
        # The user's own cloud must not get in the way.
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith('OS_')
        } | self.client_environment()

    def client_environment(self) -> dict[str, str]:
        """Return what lets any OpenStack client talk to this Glance."""
        return {
            'OS_AUTH_TYPE': 'none',
            'OS_ENDPOINT': self.server.url,
            'no_proxy': '127.0.0.1',
        }

    def start(self) -> None:
        """Start the server, and say where it is."""
        self.server.start()
        self._say(
            f'Glance {metadata.version("glance")} on uWSGI '
            f'{metadata.version("uwsgi")}, 2 processes of 4 threads, '
            f'at {self.server.url}'
        )
        self._say(f'log: {self.server.log}')

    def create_image(
        self, name: str, path: pathlib.Path | None = None
    ) -> None:
        """Upload the file at *path*, the template unless given."""
        self.run(
            'openstack',
            'image',
            'create',
            '--progress',
            '--disk-format',
            'qcow2',
            '--container-format',
            'bare',
            '--file',
            str(path or self._scene.template.path),
            '-f',
            'value',
            '-c',
            'status',
            name,
        )

    def show_image(self, name: str) -> dict[str, Any]:
        """Return what Glance says about an image."""
        return json.loads(
            subprocess.run(
                [
                    programs.program('openstack'),
                    'image',
                    'show',
                    '-f',
                    'json',
                    name,
                ],
                env=self.environment,
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ).stdout
        )

    def digest_of(self, name: str) -> str:
        """Return the digest that is in an image's URL."""
        location = self.show_image(name)['properties']['locations'][0]
        return location['url'].split('/')[4]

    def save_image(self, name: str) -> None:
        """Download an image, and check that it is the template.

        :raises StepFailed: if it has other bytes
        """
        path = self._scene.scratch / 'download.qcow2'
        self.run('openstack', 'image', 'save', '--file', str(path), name)
        sha256 = stage.sha256(path)
        path.unlink()
        self._say(f'sha256 {sha256}')
        stage.check(
            sha256 == self._scene.sha256, f'sent was {self._scene.sha256}'
        )

    def delete_image(self, name: str) -> None:
        """Delete an image."""
        self.run('openstack', 'image', 'delete', name)

    def run(self, name: str, *arguments: str) -> str:
        """Show a command, run it, and return what it prints."""
        return self._scene.run(self.environment, name, *arguments)
