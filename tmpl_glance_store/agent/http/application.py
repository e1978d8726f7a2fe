# SPDX-License-Identifier: Apache-2.0
"""The agent's HTTP API: template bytes for other nodes, status and metrics.

``GET /v1/templates/<digest>/data`` (with Range) and ``/pieces``, ``GET
/v1/status``, ``/metrics``, ``/healthz``. Readers prove what they get, so
nothing is proved here; but only copies that are complete are found at all, and
only for those whose certificate is for that.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import prometheus_client
import werkzeug.exceptions
from prometheus_client import exposition
from werkzeug import routing
from werkzeug import wrappers

from tmpl_glance_store import exceptions
from tmpl_glance_store import layout
from tmpl_glance_store import objects
from tmpl_glance_store.agent import metrics as api_metrics
from tmpl_glance_store.agent import status as agent_status
from tmpl_glance_store.agent.http import clients
from tmpl_glance_store.agent.http import ranges
from tmpl_glance_store.agent.http import server
from tmpl_glance_store.agent.http import shares

LOG = logging.getLogger(__name__)

_CHUNK = 256 << 10
# Some threads are left for status, health and metrics.
_STREAMS = server.THREADS - 4
_METRICS = '/metrics'
_HEALTH = '/healthz'


class Application:
    """The WSGI application.

    :param find_copy: returns the directory of a complete copy of a template,
        by its digest, or None
    :param status: returns what ``/v1/status`` shows
    :param healthy: returns whether the agent is well, and a line about it
    :param registry: what ``/metrics`` shows
    :param metrics: counters, in that registry
    :param streams: reads of template bytes at a time, of which one client
        gets half at most; who comes on top gets a 503, and tries another
        holder
    """

    def __init__(
        self,
        *,
        find_copy: Callable[[str], str | None],
        status: Callable[[], agent_status.Status],
        healthy: Callable[[], tuple[bool, str]],
        registry: prometheus_client.CollectorRegistry,
        metrics: api_metrics.ApiMetrics,
        streams: int = _STREAMS,
    ) -> None:
        self._find_copy = find_copy
        self._status = status
        self._healthy = healthy
        self._registry = registry
        self._metrics = metrics
        self._shares = shares.Shares(streams, max(1, streams // 2))
        views: dict[str, Callable[..., wrappers.Response]] = {
            '/v1/templates/<digest>/data': self._data,
            '/v1/templates/<digest>/pieces': self._pieces,
            '/v1/status': self._show_status,
            _METRICS: self._show_metrics,
            _HEALTH: self._show_health,
        }
        self._views = views
        self._routes = routing.Map(
            [
                routing.Rule(path, endpoint=path, methods=['GET'])
                for path in views
            ],
            strict_slashes=False,
            merge_slashes=False,
        ).bind('')

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        request = wrappers.Request(environ)
        endpoint, response = self._answer(request)
        self._metrics.requests.labels(endpoint, response.status_code).inc()
        return response(environ, start_response)

    def _answer(
        self, request: wrappers.Request
    ) -> tuple[str, wrappers.Response]:
        endpoint = ''
        try:
            endpoint, arguments = self._routes.match(
                request.path, request.method
            )
            self._require_right(request, endpoint)
            return endpoint, self._views[endpoint](request, **arguments)
        except werkzeug.exceptions.HTTPException as exc:
            error = exc
        except exceptions.Unavailable as exc:
            error = werkzeug.exceptions.ServiceUnavailable(str(exc))
        except Exception:
            LOG.exception('%s %s', request.method, request.path)
            error = werkzeug.exceptions.InternalServerError()
        return endpoint, error.get_response(request.environ)

    def _require_right(self, request: wrappers.Request, endpoint: str) -> None:
        client = _client(request)
        if not (
            client.may_watch
            if endpoint in (_METRICS, _HEALTH)
            else client.may_read
        ):
            self._metrics.refused.labels('forbidden').inc()
            raise werkzeug.exceptions.Forbidden(
                'This certificate is not for that: it has not the DNS name '
                'that it would need.'
            )

    def _data(
        self, request: wrappers.Request, digest: str
    ) -> wrappers.Response:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self._open(digest, layout.IMAGE))
            size = os.fstat(file.fileno()).st_size
            extent = ranges.extent_of(request, digest, size)
            stack.enter_context(self._slot(_client(request).key))
            start, end = extent or (0, size)
            response = wrappers.Response(
                self._read(file, start, end),
                206 if extent else 200,
                mimetype='application/octet-stream',
            )
            response.content_length = end - start
            response.accept_ranges = 'bytes'
            response.set_etag(digest)
            if extent:
                response.content_range.set(start, end, size)
            response.call_on_close(stack.pop_all().close)
            return response

    def _read(self, file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of *file* from *start* to *end* in chunks."""
        while start < end:
            chunk = os.pread(file.fileno(), min(_CHUNK, end - start), start)
            if not chunk:
                # The reader must see that: its connection breaks.
                raise OSError(errno.EIO, f'{file.name} became shorter')
            start += len(chunk)
            self._metrics.sent.inc(len(chunk))
            yield chunk

    @contextlib.contextmanager
    def _slot(self, client: str) -> Iterator[None]:
        if not self._shares.take(client):
            raise werkzeug.exceptions.ServiceUnavailable(
                'Too many reads at a time.', retry_after=1
            )
        try:
            with self._metrics.streams.track_inprogress():
                yield
        finally:
            self._shares.give(client)

    def _pieces(
        self, _request: wrappers.Request, digest: str
    ) -> wrappers.Response:
        with self._open(digest, layout.PIECES) as file:
            return wrappers.Response(
                file.read(), mimetype='application/octet-stream'
            )

    def _open(self, digest: str, name: str) -> BinaryIO:
        if not objects.DIGEST.fullmatch(digest):
            raise werkzeug.exceptions.NotFound()
        copy = self._find_copy(digest)
        if copy is None:
            raise werkzeug.exceptions.NotFound()
        try:
            return open(os.path.join(copy, name), 'rb', buffering=0)
        except FileNotFoundError:  # removed meanwhile
            raise werkzeug.exceptions.NotFound() from None

    def _show_status(self, _request: wrappers.Request) -> wrappers.Response:
        return wrappers.Response(
            self._status().to_json(),
            mimetype='application/json',
        )

    def _show_metrics(self, request: wrappers.Request) -> wrappers.Response:
        encode, content_type = exposition.choose_encoder(
            request.headers.get('Accept', '')
        )
        return wrappers.Response(
            encode(self._registry), content_type=content_type
        )

    def _show_health(self, _request: wrappers.Request) -> wrappers.Response:
        well, line = self._healthy()
        return wrappers.Response(
            f'{line}\n', 200 if well else 503, mimetype='text/plain'
        )


def _client(request: wrappers.Request) -> clients.Client:
    client = request.environ.get(clients.ENVIRON)
    return client if isinstance(client, clients.Client) else clients.NOBODY
