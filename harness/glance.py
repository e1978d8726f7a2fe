# SPDX-License-Identifier: Apache-2.0
"""The real Glance API, under the real uWSGI, for tests and for the demo.

:class:`GlanceServer` runs one Glance in a directory of its own, on a free port
of the loopback interface, with SQLite and without Keystone.
"""

import contextlib
import functools
import http
import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping
from typing import Self

from harness import programs
from harness import waiting

#: Seconds until a started Glance must answer, and a stopped one be gone.
START_DEADLINE = 120
STOP_DEADLINE = 20

#: A section's options; a list stands for an option that is repeated.
Options = Mapping[str, object]

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]

_PASTE = """\
[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api
/healthcheck: healthcheck

[pipeline:api]
pipeline = versionnegotiation sqlite identity context rootapp

[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app

[app:apiversions]
paste.app_factory = glance.api.versions:create_resource

[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory

[app:healthcheck]
paste.app_factory = oslo_middleware:Healthcheck.app_factory

[filter:versionnegotiation]
paste.filter_factory = \
glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory

[filter:context]
paste.filter_factory = \
glance.api.middleware.context:ContextMiddleware.factory

[filter:identity]
paste.filter_factory = harness.paste_filters:identity_factory

[filter:sqlite]
paste.filter_factory = harness.paste_filters:sqlite_factory
"""


class GlanceError(Exception):
    """Glance did not start; the message holds the end of its log."""


class GlanceServer:
    """One Glance API in the directory *root*, run by this context manager.

    :param root: holds everything: configuration, database, log, work files
    :param backends: store type by backend name, the first is the default;
        None for the legacy single-store configuration
    :param sections: more of glance-api.conf, by section; it wins
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        backends: Mapping[str, str] | None = None,
        sections: Mapping[str, Options] | None = None,
        processes: int = 1,
        threads: int = 4,
    ) -> None:
        self.root = pathlib.Path(root).resolve()
        self.log = self.root / 'glance.log'
        self.port = programs.free_port()
        self._backends = backends
        self._sections = sections or {}
        self._processes, self._threads = processes, threads
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The endpoint, without a version."""
        return f'http://127.0.0.1:{self.port}'

    @property
    def running(self) -> bool:
        """Whether the uWSGI master lives."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: types.TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f'The end of {self.log}:\n{self.log_tail()}')
        self.stop()

    def start(self) -> None:
        """Write the configuration, start uWSGI and wait until it answers.

        :raises GlanceError: if it ends, or does not answer in time
        """
        self._write_configuration()
        create_database(self.root / 'glance.sqlite')
        with self.log.open('ab') as log:
            # A session of its own: Ctrl-C reaches only us, and we stop it.
            # setpriv: should we be killed, it dies too, and no-orphans follow.
            self._process = subprocess.Popen(
                [
                    'setpriv',
                    '--pdeathsig',
                    'KILL',
                    programs.program('uwsgi'),
                    '--ini',
                    str(self.root / 'uwsgi.ini'),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                start_new_session=True,
                env={
                    **os.environ,
                    'PYTHONPATH': str(_REPOSITORY),
                    'OS_GLANCE_CONFIG_DIR': str(self.root),
                },
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End Glance as an operator would; by force if it does not obey."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_DEADLINE)
        self.kill()

    def kill(self) -> None:
        """SIGKILL the uWSGI master and its workers at once, like a crash."""
        if self._process is None:
            return
        # The group may hold workers that have outlived their master.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def log_tail(self, lines: int = 60) -> str:
        """Return the end of what Glance and uWSGI logged."""
        if not self.log.exists():
            return ''
        text = self.log.read_text(errors='replace')
        return '\n'.join(text.splitlines()[-lines:])

    def _wait_until_ready(self) -> None:
        for _ in waiting.ticks(START_DEADLINE):
            if not self.running:
                raise GlanceError(f'Glance ended:\n{self.log_tail()}')
            if self._answers():
                return
        raise GlanceError(f'Glance does not answer:\n{self.log_tail()}')

    def _answers(self) -> bool:
        with contextlib.closing(
            http.client.HTTPConnection('127.0.0.1', self.port, timeout=10)
        ) as connection:
            try:
                connection.request('GET', '/healthcheck')
                return connection.getresponse().status == http.HTTPStatus.OK
            except (OSError, http.client.HTTPException):
                return False

    def _write_configuration(self) -> None:
        for name in ('staging', 'tasks'):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name, text in {
            'glance-api-paste.ini': _PASTE,
            'glance-api.conf': to_ini(self._glance_options()),
            'uwsgi.ini': to_ini({'uwsgi': self._uwsgi_options()}),
        }.items():
            (self.root / name).write_text(text)

    def _glance_options(self) -> dict[str, dict[str, object]]:
        options: dict[str, dict[str, object]] = {
            'DEFAULT': {
                'worker_self_reference_url': self.url,
                'show_multiple_locations': True,
            },
            'database': {
                'connection': f'sqlite:///{self.root}/glance.sqlite?timeout=60'
            },
            'paste_deploy': {
                'config_file': self.root / 'glance-api-paste.ini'
            },
        }
        own = (
            self._single_store()
            if self._backends is None
            else self._multi_store(self._backends)
        )
        for more in (own, self._sections):
            for section, values in more.items():
                options.setdefault(section, {}).update(values)
        return options

    def _single_store(self) -> dict[str, Options]:
        return {'DEFAULT': {'node_staging_uri': f'file://{self.root}/staging'}}

    def _multi_store(self, backends: Mapping[str, str]) -> dict[str, Options]:
        enabled = ','.join(f'{name}:{kind}' for name, kind in backends.items())
        return {
            'DEFAULT': {
                'enabled_backends': enabled,
                'enabled_import_methods': '[glance-direct,copy-image]',
            },
            'glance_store': {'default_backend': next(iter(backends))},
            **{
                f'os_glance_{name}_store': {
                    'filesystem_store_datadir': self.root / name
                }
                for name in ('staging', 'tasks')
            },
        }

    def _uwsgi_options(self) -> dict[str, object]:
        """Return what DevStack gives glance-api, and threads.

        See ``write_local_uwsgi_http_config`` in DevStack's ``lib/apache``.
        """
        return {
            'module': 'glance.wsgi.api:application',
            'home': sys.prefix,
            'http-socket': f'127.0.0.1:{self.port}',
            'processes': self._processes,
            'threads': self._threads,
            'enable-threads': True,
            'lazy-apps': True,
            'thunder-lock': True,
            'master': True,
            'need-app': True,
            'no-orphans': True,
            'die-on-term': True,
            'hook-master-start': 'unix_signal:15 gracefully_kill_them_all',
            'worker-reload-mercy': STOP_DEADLINE // 2,
            'add-header': 'Connection: close',
            'buffer-size': 65535,
            'socket-timeout': 30,
        }


def to_ini(sections: Mapping[str, Options]) -> str:
    """Return *sections* in the syntax that oslo.config and uWSGI share."""
    lines = []
    for section, options in sections.items():
        lines.append(f'[{section}]')
        for name, value in options.items():
            values = value if isinstance(value, list) else [value]
            lines += [f'{name} = {_ini_value(each)}' for each in values]
    return '\n'.join(lines) + '\n'


def _ini_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def create_database(path: pathlib.Path) -> None:
    """Make Glance's SQLite database at *path*, unless it is there."""
    if not path.exists():
        directory = _migrated_database()
        shutil.copyfile(f'{directory.name}/glance.sqlite', path)


@functools.cache
def _migrated_database() -> 'tempfile.TemporaryDirectory[str]':
    """Return a directory with an empty database of Glance's schema.

    Migrating takes seconds, so it is done once per process and copied.
    """
    directory = tempfile.TemporaryDirectory(prefix='glance-schema-')
    database = f'{directory.name}/glance.sqlite'
    configuration = pathlib.Path(directory.name, 'glance.conf')
    configuration.write_text(
        to_ini({'database': {'connection': f'sqlite:///{database}'}})
    )
    subprocess.run(
        [
            programs.program('glance-manage'),
            '--config-file',
            str(configuration),
            'db_sync',
        ],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return directory
