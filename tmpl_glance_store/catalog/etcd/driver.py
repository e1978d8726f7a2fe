# SPDX-License-Identifier: Apache-2.0
"""The key-value contract on etcd: for the nodes of a cluster.

Speaks to the JSON gateway of etcd 3.4 or later, through etcd3gw. Every
request has a bounded time, and is refused by a member without a leader. What
fails at one member is asked of the next, except a commit that may have been
carried out.
"""

import base64
import contextlib
import dataclasses
import json
import logging
import os
import random
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import etcd3gw
import requests
import urllib3
from etcd3gw import exceptions as etcd_exceptions
from requests import adapters

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import contract
from tmpl_glance_store.catalog.etcd import auth as etcd_auth

LOG = logging.getLogger(__name__)

# All in seconds.
_CONNECT_TIMEOUT = 3
_ANSWER_TIMEOUT = 8  # etcd itself gives up after 7
_ELECTION = 5  # how long a call waits for the members to choose a leader
_ELECTION_PAUSE = 0.2
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 5  # before a watch connects again
_SILENCE = 900  # etcd tells a watch every 10 or 11 minutes that it is there

_PAGE = 500  # entries in one answer
_MOST_CHANGES = 10_000  # that a watch keeps for who does not take them

# A dead host is noticed though nobody writes to it, and a firewall sees that
# a quiet watch is in use.
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]

_URL = re.compile(r'etcd\+(https?)://([^/?#]+)/?(?:\?([^#]*))?')
_HOST = re.compile(
    r'(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))'
    r':([0-9]{1,5})'
)
_LOOPBACK = re.compile(r'127\.[0-9.]+|::1|localhost')
_OPTIONS = {'ca', 'cert', 'key', 'user', 'password_file'}

# gRPC's codes in etcd's answers. The first ones (cancelled, unknown, deadline
# exceeded, internal, unavailable) say nothing about the request but that this
# member cannot answer it.
_TROUBLE = {1, 2, 4, 13, 14}
_NOT_FOUND, _OUT_OF_RANGE = 5, 11
_NO_LEADER = 'etcdserver: no leader'
_LEADER_CHANGED = 'etcdserver: leader changed'

_RANDOM = random.SystemRandom()


@dataclasses.dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where a member listens."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{self.scheme}://{host}:{self.port}'


class EtcdKeyValue(contract.KeyValue):
    """See the contract.

    Whatever else etcd refuses, for want of permissions or of space, raises
    Unavailable too: nobody knows the answer until etcd has been put right.

    :param url: ``etcd+http://host:port``, or ``etcd+https://host:port`` with
        ``?ca=/path&cert=/path&key=/path``, all three optional; the host may
        be followed by ``,host:port`` for each further member; and with
        ``user=name&password_file=/path`` where etcd wants a user
    :raises BadConfiguration: if the URL has another form, or its files are
        not what they should be
    """

    def __init__(self, url: str) -> None:
        endpoints, self._tls, user = _parse(url)
        self._auth = (
            etcd_auth.TokenAuth(*user, self._authenticate) if user else None
        )
        self._members = _Members(endpoints, self._on_failure)
        self._local = threading.local()
        self._watches: set[_Watch] = set()

    def get(self, key: str) -> contract.Entry | None:
        found = self._call('/kv/range', {'key': _encode(key)})
        return next(map(_entry, found.get('kvs', ())), None)

    def list(self, prefix: str) -> list[contract.Entry]:
        try:
            return self._list(prefix)
        except _Failure as exc:
            if exc.code != _OUT_OF_RANGE:
                raise
        # Compacted between two pages, which happens every few minutes.
        return self._list(prefix)

    def commit(
        self,
        compares: Sequence[contract.Compare],
        writes: Sequence[contract.Put | contract.Delete],
    ) -> bool:
        # etcd refuses to write a key twice; the last one counts.
        last_writes = {write.key: write for write in writes}.values()
        request = {
            'compare': [_comparison(item) for item in compares],
            'success': [_operation(item) for item in last_writes],
        }
        if not writes:
            # Without any operation a member would compare with what it knows
            # itself, which may not be the latest.
            request['success'] = [
                {'request_range': {'key': _encode('\0'), 'count_only': True}}
            ]
        try:
            done = self._call('/kv/txn', request, repeatable=not writes)
        except _Failure as exc:
            if exc.code == _NOT_FOUND:
                raise exceptions.NotFound('a lease has expired') from exc
            raise
        return done.get('succeeded', False)

    def grant(self, ttl: int) -> int:
        # If it is granted twice, one expires and has never had a key.
        return int(self._call('/lease/grant', {'TTL': ttl})['ID'])

    def keep_alive(self, lease: int) -> bool:
        kept = self._call('/lease/keepalive', {'ID': lease})['result']
        return int(kept.get('TTL', 0)) > 0

    def revoke(self, lease: int) -> None:
        try:
            self._call('/lease/revoke', {'ID': lease})
        except _Failure as exc:
            if exc.code != _NOT_FOUND:
                raise

    def watch(self, prefix: str) -> contract.Watch:
        watch = _Watch(
            lambda: self._open_stream(prefix),
            prefix,
            on_close=self._watches.discard,
        )
        self._watches.add(watch)
        return watch

    def close(self) -> None:
        """Give up all watches, and the connections of this thread.

        Those of another thread end with it.
        """
        for watch in tuple(self._watches):
            watch.close()
        pid, clients = getattr(self._local, 'current', (0, {}))
        if pid == os.getpid():
            for client in clients.values():
                client.session.close()
            del self._local.current

    def _list(self, prefix: str) -> Sequence[contract.Entry]:
        return [_entry(kv) for page in self._pages(prefix) for kv in page]

    def _pages(self, prefix: str) -> Iterator[Sequence[dict[str, str]]]:
        request = {**_range(prefix), 'limit': _PAGE}
        more = True
        while more:
            answer = self._call('/kv/range', request)
            page = answer.get('kvs', ())
            yield page
            more = answer.get('more', False)
            if more:
                request['key'] = _encode(_decode(page[-1]['key']) + b'\0')
                # All pages show the same instant.
                request.setdefault('revision', answer['header']['revision'])

    def _call(
        self, path: str, request: Mapping[str, Any], repeatable: bool = True
    ) -> Any:
        def post(endpoint: _Endpoint) -> Any:
            client = self._client(endpoint)
            with _translated(endpoint):
                return client.post(client.get_url(path), json=request)

        return self._members.ask(post, repeatable)

    def _open_stream(self, prefix: str) -> '_Stream':
        def stream(endpoint: _Endpoint) -> _Stream:
            if self._auth is not None:
                self._auth.forget()
            return _Stream(
                endpoint,
                _connect(endpoint, self._tls, self._auth),
                _watch_request(prefix),
            )

        return self._members.ask(stream)

    def _authenticate(self, url: str, user: str, password: str) -> str:
        """Return a token of the member at *url*."""
        match = _HOST.fullmatch(urllib.parse.urlsplit(url).netloc)
        assert match
        client = _connect(
            _Endpoint(
                url.partition(':')[0], match[1] or match[2], int(match[3])
            ),
            self._tls,
        )
        with client.session:
            return client.post(
                client.get_url('/auth/authenticate'),
                json={'name': user, 'password': password},
            )['token']

    def _on_failure(self, failure: '_Failure') -> None:
        # A member that hangs keeps its streams open: the watches would not
        # know that they are told nothing.
        if failure.timed_out:
            for watch in tuple(self._watches):
                watch.distrust(failure.endpoint)

    def _client(self, endpoint: _Endpoint) -> etcd3gw.Etcd3Client:
        # requests does not promise that threads may share a session, and
        # processes must not share a connection.
        pid, clients = getattr(self._local, 'current', (0, {}))
        if pid != os.getpid():
            clients = {}
            self._local.current = os.getpid(), clients
        if endpoint not in clients:
            clients[endpoint] = _connect(endpoint, self._tls, self._auth)
        return clients[endpoint]


class _Members:
    """The members of the cluster: asks them in turn until one answers.

    :param on_failure: is told of each failure, before anything else
    """

    def __init__(
        self,
        endpoints: Sequence[_Endpoint],
        on_failure: Callable[['_Failure'], None],
    ) -> None:
        self._endpoints = endpoints
        self._on_failure = on_failure
        # Not all clients should burden the same member.
        self._preferred = _RANDOM.randrange(len(endpoints))

    def ask(
        self, question: Callable[[_Endpoint], Any], repeatable: bool = True
    ) -> Any:
        """Return what *question* returns for the first member that can tell.

        Waits a while for the members to choose a leader.

        :param repeatable: whether the next member may be asked though this
            one may have done what it was asked
        :raises Unavailable: if none can tell
        """
        deadline = time.monotonic() + _ELECTION
        while True:
            try:
                return self._ask_each(question, repeatable)
            except _AllFailed as exc:
                if not exc.in_election or time.monotonic() > deadline:
                    raise
            time.sleep(_ELECTION_PAUSE)

    def _ask_each(
        self, question: Callable[[_Endpoint], Any], repeatable: bool
    ) -> Any:
        failures = []
        for endpoint in self._in_turn():
            try:
                return question(endpoint)
            except _Failure as exc:
                self._on_failure(exc)
                if not exc.in_trouble:
                    raise
                self._avoid(endpoint)
                if not (repeatable or exc.untouched):
                    raise
                failures.append(exc)
        raise _AllFailed(failures) from failures[-1]

    def _in_turn(self) -> Sequence[_Endpoint]:
        first = self._preferred
        return [*self._endpoints[first:], *self._endpoints[:first]]

    def _avoid(self, endpoint: _Endpoint) -> None:
        if self._endpoints[self._preferred] == endpoint:
            self._preferred = (self._preferred + 1) % len(self._endpoints)


class _Watch(contract.Watch):
    """A thread that listens to a stream of changes, and replaces a lost one.

    A stream tells what happens from the moment it is open; what happened
    while there was none is unknown, so that each new one counts as a change
    of anything. No revision is remembered that could have been compacted.
    """

    def __init__(
        self,
        open_stream: Callable[[], '_Stream'],
        prefix: str,
        on_close: Callable[['_Watch'], None],
    ) -> None:
        self._open_stream = open_stream
        self._prefix = prefix
        self._on_close = on_close
        self._closed = False
        self._changes: dict[str, contract.Change] | None = {}
        self._start()

    def wait(self, timeout: float) -> bool:
        if self._is_inherited():
            self._start_again()
            return True
        with self._condition:
            self._condition.wait_for(
                lambda: self._news or self._closed, timeout
            )
            news, self._news = self._news, False
            return news and not self._closed

    def take(self) -> Sequence[contract.Change] | None:
        if self._is_inherited():
            self._start_again()
        with self._condition:
            changes, self._changes = self._changes, {}
        return None if changes is None else tuple(changes.values())

    def close(self) -> None:
        self._on_close(self)
        if self._pid != os.getpid():
            self._closed = True  # the connection is the parent's
            return
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            stream = self._stream
        if stream is not None:
            stream.stop()

    def distrust(self, endpoint: _Endpoint) -> None:
        """Connect again if the stream comes from *endpoint*."""
        stream = self._stream
        if (
            self._pid == os.getpid()
            and stream is not None
            and stream.endpoint == endpoint
        ):
            stream.stop()

    def _is_inherited(self) -> bool:
        """Tell whether a fork has left the thread with the parent."""
        return self._pid != os.getpid() and not self._closed

    def _start_again(self) -> None:
        self._changes = None
        self._start()

    def _start(self) -> None:
        self._condition = threading.Condition()
        self._news = False
        self._stream: _Stream | None = self._open_stream()
        threading.Thread(
            target=self._run, name=f'watch {self._prefix}', daemon=True
        ).start()
        self._pid = os.getpid()

    def _run(self) -> None:
        pause: float = _SHORTEST_PAUSE
        while not self._closed:
            begun = time.monotonic()
            try:
                self._follow()
            except Exception as exc:
                # Whatever it is: without this thread, changes were missed.
                if not self._closed:
                    LOG.log(
                        logging.WARNING
                        if pause == _SHORTEST_PAUSE
                        else logging.DEBUG,
                        'Watch of %s: %s',
                        self._prefix,
                        exc,
                    )
            if time.monotonic() - begun > _LONGEST_PAUSE:
                pause = _SHORTEST_PAUSE
            with self._condition:
                # Not all clients at once, when etcd comes back.
                self._condition.wait_for(
                    lambda: self._closed, pause * _RANDOM.uniform(0.5, 1)
                )
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _follow(self) -> None:
        """Tell of changes until the stream is lost: then raise."""
        stream = self._stream
        if stream is None:
            stream = self._open_stream()
            self._adopt(stream)
        try:
            for changes in stream.changes():
                self._tell(changes)
        finally:
            self._stream = None
            stream.close()

    def _adopt(self, stream: '_Stream') -> None:
        with self._condition:
            self._stream = stream
            closed = self._closed
        if closed:
            stream.stop()
        else:
            LOG.info(
                'Watch of %s: goes on at %s', self._prefix, stream.endpoint
            )
            self._tell(None)

    def _tell(self, changes: Sequence[contract.Change] | None) -> None:
        """Pass changes on; None: it is unknown which."""
        with self._condition:
            if changes is None:
                self._changes = None
            elif self._changes is not None:
                self._changes.update((each.key, each) for each in changes)
                if len(self._changes) > _MOST_CHANGES:
                    self._changes = None
            self._news = True
            self._condition.notify_all()


class _Stream:
    """A connection on which a member tells of changes from now on.

    :param client: for this stream alone
    :raises Unavailable: if the member does not begin to tell
    """

    def __init__(
        self,
        endpoint: _Endpoint,
        client: etcd3gw.Etcd3Client,
        request: Mapping[str, Any],
    ) -> None:
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._session = client.session
        with _translated(endpoint):
            self._response = client.session.post(
                client.get_url('/watch'),
                json=request,
                stream=True,
                timeout=_timeout(),
            )
            if self._response.status_code != requests.codes.ok:
                raise etcd_exceptions.Etcd3Exception(
                    self._response.text, self._response.reason
                )
            connected = self._response.raw.connection.sock
            self._lines = filter(None, self._response.iter_lines(1 << 16))
            if not _message(next(self._lines, b'{}')).get('created'):
                raise etcd_exceptions.Etcd3Exception('no watch', 'no watch')
        connected.settimeout(_SILENCE)
        # A duplicate: whoever stops the stream must not meet a number that
        # has become another file's since the original was closed.
        self._socket = socket.fromfd(
            connected.fileno(), connected.family, connected.type
        )

    def changes(self) -> Iterator[Sequence[contract.Change]]:
        """Yield what changes, as it happens; block between.

        :raises Unavailable: if the stream ends, for whatever reason
        """
        with _translated(self.endpoint):
            for line in self._lines:
                if events := _message(line).get('events'):
                    yield [_change(event) for event in events]
        raise exceptions.Unavailable(
            f'etcd {self.endpoint}: the watch has ended'
        )

    def stop(self) -> None:
        """Let :meth:`changes` raise soon; for another thread."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give up the connection."""
        self._response.close()
        self._session.close()
        with self._lock:
            self._socket.close()


class _Adapter(adapters.HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(
            *args, socket_options=_SOCKET_OPTIONS, **kwargs
        )


def _connect(
    endpoint: _Endpoint,
    tls: Mapping[str, str],
    auth: etcd_auth.TokenAuth | None = None,
) -> etcd3gw.Etcd3Client:
    client = etcd3gw.Etcd3Client(
        endpoint.host,
        endpoint.port,
        endpoint.scheme,
        timeout=_timeout(),
        api_path='/v3/',
    )
    session = client.session
    # No proxy, no ~/.netrc, and above all no $REQUESTS_CA_BUNDLE, which would
    # be trusted instead of the cluster's CA.
    session.trust_env = False
    session.auth = auth
    session.verify = tls.get('ca', True)
    if 'cert' in tls:
        session.cert = tls['cert'], tls['key']
    # A member that has lost the others would serve on: watches would be told
    # nothing, and calls would wait.
    session.headers['Grpc-Metadata-hasleader'] = 'true'
    session.mount(f'{endpoint.scheme}://', _Adapter())
    return client


def _timeout() -> tuple[int, int]:
    return _CONNECT_TIMEOUT, _ANSWER_TIMEOUT


# What goes wrong


class _Failure(exceptions.Unavailable):
    """Why an endpoint did not do what it was asked.

    ``code`` is gRPC's, or None if it was not etcd that answered.
    """

    def __init__(self, endpoint: _Endpoint, exc: Exception) -> None:
        answer = _answer(exc)
        reason = answer.get('message') or _reason(exc)
        super().__init__(f'etcd {endpoint}: {reason}')
        self.endpoint = endpoint
        self.code = answer.get('code')
        self.timed_out = self.code is None and isinstance(
            exc, (etcd_exceptions.ConnectionTimeoutError, requests.Timeout)
        )
        self.in_election = reason in (_NO_LEADER, _LEADER_CHANGED)
        #: Another member may do better.
        self.in_trouble = self.code is None or self.code in _TROUBLE
        #: For certain, nothing was done.
        self.untouched = reason == _NO_LEADER or isinstance(
            reason,
            (
                urllib3.exceptions.NewConnectionError,
                urllib3.exceptions.ConnectTimeoutError,
            ),
        )


class _AllFailed(exceptions.Unavailable):
    def __init__(self, failures: Sequence[_Failure]) -> None:
        super().__init__('; '.join(map(str, failures)))
        self.in_election = any(failure.in_election for failure in failures)


@contextlib.contextmanager
def _translated(endpoint: _Endpoint) -> Iterator[None]:
    try:
        yield
    except (
        etcd_exceptions.Etcd3Exception,
        requests.RequestException,
        ValueError,
    ) as exc:
        raise _Failure(endpoint, exc) from exc


def _answer(exc: Exception) -> dict[str, Any]:
    """Return what etcd says is wrong; empty if nothing of etcd is in it."""
    try:
        answer = json.loads(getattr(exc, 'detail_text', None) or '')
    except ValueError:
        return {}
    if not isinstance(answer, dict):
        return {}
    error = answer.get('error')
    if isinstance(error, dict):  # from a stream, which a keep-alive is too
        return {
            'code': error.get('grpc_code', error.get('code')),
            'message': error.get('message'),
        }
    return answer


def _reason(exc: BaseException) -> object:
    """Return what etcd3gw and requests have wrapped up."""
    if isinstance(exc, etcd_exceptions.Etcd3Exception):
        if exc.args:  # an answer over HTTP
            return (exc.detail_text or '').strip()[:200] or exc.args[0]
        exc = exc.__context__ or exc
    inner = exc.args[0] if exc.args else exc
    return getattr(inner, 'reason', inner)


# What is sent and received


def _message(line: bytes) -> dict[str, Any]:
    """Return what a line of a stream says."""
    message = json.loads(line)
    if 'error' in message:
        raise etcd_exceptions.Etcd3Exception(line.decode(), 'error')
    result = message.get('result', {})
    if result.get('canceled'):
        reason = result.get('cancel_reason') or 'its revision was compacted'
        raise etcd_exceptions.Etcd3Exception(
            f'the watch was cancelled: {reason}', 'cancelled'
        )
    return result


def _encode(key: str | bytes) -> str:
    # etcd3gw's own would take a str as Latin-1.
    data = key.encode() if isinstance(key, str) else key
    return base64.b64encode(data).decode()


def _decode(data: str) -> bytes:
    return base64.b64decode(data)


def _range(prefix: str) -> dict[str, Any]:
    start = prefix.encode()
    if not start:
        return {'key': _encode('\0'), 'range_end': _encode('\0')}  # all
    # UTF-8 has no byte 255 that would overflow.
    end = start[:-1] + bytes([start[-1] + 1])
    return {'key': _encode(start), 'range_end': _encode(end)}


def _watch_request(prefix: str) -> dict[str, Any]:
    return {'create_request': {**_range(prefix), 'progress_notify': True}}


def _entry(kv: Mapping[str, str]) -> contract.Entry:
    return contract.Entry(
        _decode(kv['key']).decode(),
        _decode(kv.get('value', '')),
        int(kv['mod_revision']),
    )


def _change(event: Mapping[str, Any]) -> contract.Change:
    kv = event['kv']
    deleted = event.get('type') == 'DELETE'
    return contract.Change(
        _decode(kv['key']).decode(),
        None if deleted else _decode(kv.get('value', '')),
        int(kv['mod_revision']),
    )


def _comparison(compare: contract.Compare) -> dict[str, Any]:
    return {
        'key': _encode(compare.key),
        'target': 'MOD',
        'result': 'EQUAL',
        'mod_revision': compare.revision,
    }


def _operation(write: contract.Put | contract.Delete) -> dict[str, Any]:
    if isinstance(write, contract.Delete):
        return {'request_delete_range': {'key': _encode(write.key)}}
    return {
        'request_put': {
            'key': _encode(write.key),
            'value': _encode(write.value),
            'lease': write.lease or 0,
        }
    }


# The URL


def _parse(
    url: str,
) -> tuple[list[_Endpoint], dict[str, str], tuple[str, str] | None]:
    """Return the members, the files for TLS, and (user, password file)."""
    match = _URL.fullmatch(url)
    if not match:
        raise _bad(
            url,
            'it is not etcd+http://host:port[,host:port…] or '
            'etcd+https://host:port[,host:port…]',
        )
    scheme, hosts, query = match.groups()
    endpoints = [_endpoint(url, scheme, host) for host in hosts.split(',')]
    options = _options(url, query or '')
    user = _user(url, options, endpoints)
    return endpoints, _tls(url, scheme, options), user


def _endpoint(url: str, scheme: str, text: str) -> _Endpoint:
    match = _HOST.fullmatch(text)
    if not match or not 0 < int(match[3]) < 1 << 16:
        raise _bad(url, f'{text!r} is not host:port')
    return _Endpoint(scheme, match[1] or match[2], int(match[3]))


def _options(url: str, query: str) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query)
        )
    except ValueError as exc:
        raise _bad(url, str(exc)) from exc
    options = dict(pairs)
    if len(options) < len(pairs) or options.keys() - _OPTIONS:
        raise _bad(
            url,
            'the options are ca, cert, key, user and password_file, each once',
        )
    return options


def _user(
    url: str, options: dict[str, str], endpoints: Sequence[_Endpoint]
) -> tuple[str, str] | None:
    """Take the user and the password's file out of *options*."""
    user = options.pop('user', None)
    path = options.pop('password_file', None)
    if user is None and path is None:
        return None
    if not (user and path):
        raise _bad(url, 'user and password_file need each other')
    if not all(
        each.scheme == 'https' or _LOOPBACK.fullmatch(each.host)
        for each in endpoints
    ):
        raise _bad(url, 'a password is sent over https only')
    try:
        etcd_auth.read_password(path)
    except (OSError, ValueError) as exc:
        raise _bad(url, str(exc)) from exc
    return user, path


def _tls(url: str, scheme: str, tls: dict[str, str]) -> dict[str, str]:
    if tls and scheme != 'https':
        raise _bad(url, 'only etcd+https:// has ca, cert and key')
    if ('cert' in tls) != ('key' in tls):
        raise _bad(url, 'cert and key need each other')
    _check_files(url, tls)
    return tls


def _check_files(url: str, tls: Mapping[str, str]) -> None:
    try:
        for path in tls.values():
            with open(path, 'rb'):
                pass  # ssl would not name the file
        context = ssl.create_default_context(cafile=tls.get('ca'))
        if 'cert' in tls:
            # A password would be asked for at the terminal.
            context.load_cert_chain(tls['cert'], tls['key'], password='')
    except (OSError, ValueError) as exc:
        raise _bad(url, f'ca, cert and key: {exc}') from exc


def _bad(url: str, why: str) -> exceptions.BadConfiguration:
    return exceptions.BadConfiguration(f'tmpl_store_catalog: {url!r}: {why}')
