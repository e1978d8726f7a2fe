# SPDX-License-Identifier: Apache-2.0
"""Who asks the API, by the certificate that was shown, and for what it may."""

import dataclasses
import hashlib
import ssl
from typing import Self

from tmpl_glance_store import tls

#: The client of a request in the environ of WSGI. A request without is
#: nobody's.
ENVIRON = 'tmpl.client'


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """A client of the API.

    :param key: one for each certificate, whatever addresses it comes from
    :param may_read: templates and status
    :param may_watch: metrics and health
    """

    key: str
    may_read: bool = False
    may_watch: bool = False

    @classmethod
    def proved(cls, sock: ssl.SSLSocket) -> Self:
        """Return who is at the other end, after the handshake.

        The CA may have signed certificates for other purposes, so it is the
        DNS names in one that tell what it is for.
        """
        shown = sock.getpeercert(binary_form=True) or b''
        names = tls.dns_names(sock.getpeercert() or {})
        return cls(
            hashlib.sha256(shown).hexdigest(),
            may_read=tls.NODE in names,
            may_watch=not names.isdisjoint((tls.NODE, tls.METRICS)),
        )

    @classmethod
    def nearby(cls, address: str) -> Self:
        """Return a client without TLS, which only loopback lets in."""
        return cls(address, may_read=True, may_watch=True)


#: Who may nothing.
NOBODY = Client('')
