# SPDX-License-Identifier: Apache-2.0
"""A node whose API is asked as a WSGI application."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import prometheus_client
import werkzeug.test

from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent import status as agent_status
from tmpl_glance_store.agent.http import application as api
from tmpl_glance_store.agent.http import clients

DIGEST = 'ab' * 32
EMPTY = 'cd' * 32
STATUS = agent_status.Status(
    'n1', '1', transfers=(agent_status.Transfer(DIGEST, 'here', 5),)
)
CONTENT = bytes(range(256)) * 4096  # 1 MiB: more than a chunk
SIZE = len(CONTENT)


@dataclasses.dataclass
class Node:
    """A node with two templates, and what its collaborators answer."""

    directory: pathlib.Path
    status: agent_status.Status | Exception = STATUS
    health: tuple[bool, str] = (True, 'all is well')

    def __post_init__(self) -> None:
        for digest, content in (DIGEST, CONTENT), (EMPTY, b''):
            (self.directory / digest).mkdir()
            (self.directory / digest / 'image').write_bytes(content)
            (self.directory / digest / 'pieces').write_bytes(b'layer')
        self.registry = prometheus_client.CollectorRegistry()
        self.application = api.Application(
            find_copy=self.find_copy,
            status=self.show_status,
            healthy=lambda: self.health,
            registry=self.registry,
            metrics=api_metrics.ApiMetrics(self.registry),
            streams=2,
        )
        self.caller: clients.Client | None = clients.Client.nearby('::1')
        self.client = werkzeug.test.Client(self.call)

    def call(
        self, environ: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Call the application as the server does, for the caller."""
        if self.caller is not None:
            environ[clients.ENVIRON] = self.caller
        return self.application(environ, start)

    def find_copy(self, digest: str) -> str | None:
        """Take any name, to see that hostile ones do not come this far."""
        path = os.path.join(self.directory, digest)
        return path if os.path.exists(path) else None

    def show_status(self) -> agent_status.Status:
        """Show the status, or raise it."""
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    def get(self, path: str, **headers: str) -> werkzeug.test.TestResponse:
        """Return the answer to a GET."""
        return self.client.get(
            path,
            buffered=True,
            headers={
                name.replace('_', '-'): value
                for name, value in headers.items()
            },
        )

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of a metric."""
        return self.registry.get_sample_value(name, labels)


def data(digest: str = DIGEST) -> str:
    return f'/v1/templates/{digest}/data'
