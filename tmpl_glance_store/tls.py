# SPDX-License-Identifier: Apache-2.0
"""Mutual TLS with the cluster's CA: every node proves itself to every other.

One certificate serves a node as server and as client. The files are read
again when they change: certificates are renewed while the processes run.
"""

import dataclasses
import ipaddress
import logging
import os
import ssl
from collections.abc import Mapping
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil

LOG = logging.getLogger(__name__)

OPTIONS = (
    'tmpl_store_tls_ca',
    'tmpl_store_tls_certificate',
    'tmpl_store_tls_key',
)
_CRL = 'tmpl_store_tls_crl'

#: The DNS name in the certificates of those who may read templates: nodes and
#: Glance hosts. libtorrent looks for it too.
NODE = 'tmpl-agent'
#: The DNS name in the certificates of those who may but read metrics.
METRICS = 'tmpl-metrics'


@dataclasses.dataclass(frozen=True, slots=True)
class Files:
    """Paths of PEM files: the cluster's CA, this node's certificate, key.

    ``crl`` is the CA's list of the certificates that it has revoked.
    """

    ca: str
    certificate: str
    key: str
    crl: str | None = None

    @classmethod
    def read(
        cls,
        ca: str | None,
        certificate: str | None,
        key: str | None,
        crl: str | None = None,
    ) -> 'Files | None':
        """Return the values of the options, None if none is set.

        :raises BadConfiguration: if only some are set
        """
        if ca and certificate and key:
            return cls(ca, certificate, key, crl or None)
        values = zip(OPTIONS, (ca, certificate, key), strict=True)
        missing = [option for option, value in values if not value]
        if len(missing) == len(OPTIONS) and not crl:
            return None
        raise exceptions.BadConfiguration(
            f'{", ".join(missing)}: not set; mutual TLS needs all of '
            f'{", ".join(OPTIONS)}'
        )


class Context:
    """The TLS context of one side of a connection, up to date.

    :param files: of this node
    :param purpose: ``ssl.PROTOCOL_TLS_SERVER`` or ``PROTOCOL_TLS_CLIENT``
    :param verify_host: whether a client wants to find the host that it
        called in the server's certificate
    :raises BadConfiguration: if the files cannot be used
    """

    def __init__(
        self, files: Files, purpose: int, *, verify_host: bool = True
    ) -> None:
        self._files = files
        self._purpose = purpose
        self._verify_host = verify_host
        self._stamp = self._look()
        self._context = self._load()

    def get(self) -> ssl.SSLContext:
        """Return the context, with the files as they are now.

        Files that do not fit together, because just one of them has been
        replaced yet, change nothing.
        """
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = self._load()
            except exceptions.BadConfiguration as exc:
                LOG.error('The previous certificate stays in use: %s', exc)
        return self._context

    def _look(self) -> list[tuple[int, int, int]]:
        """Return what changes when a file does."""
        try:
            stats = [
                os.stat(path)
                for path in dataclasses.astuple(self._files)
                if path is not None
            ]
        except OSError:
            return []
        return [
            (each.st_ino, each.st_size, each.st_mtime_ns) for each in stats
        ]

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(self._purpose)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.options |= ssl.OP_NO_RENEGOTIATION
        if self._purpose == ssl.PROTOCOL_TLS_SERVER:
            # Who resumes a session is not asked for a certificate again.
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        else:
            context.check_hostname = self._verify_host
        files = self._files
        try:
            fsutil.require_private(files.key)
            context.load_verify_locations(files.ca)
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(files.certificate, files.key, password='')
        except (OSError, ValueError) as exc:
            raise exceptions.BadConfiguration(
                f'{", ".join(OPTIONS)}: {files.ca}, {files.certificate} and '
                f'{files.key} cannot be used: {exc}'
            ) from exc
        if files.crl is not None:
            _honour(files.crl, context)
        return context


def _honour(crl: str, context: ssl.SSLContext) -> None:
    """Let *context* refuse certificates that the CA has revoked.

    :raises BadConfiguration: if there is no list in the file *crl*
    """
    try:
        context.load_verify_locations(crl)
        if not context.cert_store_stats()['crl']:
            raise ValueError('it has no list of revoked certificates')
    except (OSError, ValueError) as exc:
        raise exceptions.BadConfiguration(
            f'{_CRL}: {crl} cannot be used: {exc}'
        ) from exc
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def server(files: Files) -> Context:
    """Return what a listener needs: every client shows a certificate."""
    return Context(files, ssl.PROTOCOL_TLS_SERVER)


def client(files: Files, *, verify_host: bool = True) -> Context:
    """Return what a client needs to talk to a listener of the cluster."""
    return Context(files, ssl.PROTOCOL_TLS_CLIENT, verify_host=verify_host)


def dns_names(certificate: Mapping[str, Any]) -> frozenset[str]:
    """Return the DNS names in a certificate, as ``getpeercert()`` gives it."""
    return frozenset(
        name.lower()
        for kind, name in certificate.get('subjectAltName', ())
        if kind == 'DNS'
    )


def is_loopback(host: str) -> bool:
    """Tell whether *host* is an IP address that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require(host: str, what: str, *, secure: bool) -> None:
    """Allow what has mutual TLS, or does not leave this machine.

    The one place of that rule, and it fails closed: a host that is no IP
    address is not loopback.

    :param host: the address to listen on, or to call
    :param what: what listens there, or calls: the error begins with it
    :param secure: whether it uses mutual TLS
    :raises BadConfiguration: if it is neither
    """
    if not secure and not is_loopback(host):
        raise exceptions.BadConfiguration(
            f'{what} on {host} needs mutual TLS: set {", ".join(OPTIONS)}, '
            'or use 127.0.0.1'
        )
