# SPDX-License-Identifier: Apache-2.0
"""The certificates by which the nodes of a cluster know each other."""

import dataclasses
from typing import Any

from oslo_config import cfg

OPTS = [
    cfg.StrOpt(
        'tmpl_store_tls_ca',
        help="""
PEM file with the certificate of the cluster's own CA.

Nodes prove themselves to each other by certificates of this CA with the DNS
name ``tmpl-agent``; who holds one may read templates. Set all three TLS
options, or none: without them nothing listens or connects beyond this
machine's loopback addresses.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_tls_certificate',
        help="""
PEM file with this node's certificate, for servers and clients.

Its subject alternative names must have ``tmpl_store_agent_host`` and the DNS
name ``tmpl-agent``. It is read again when it changes.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_tls_key',
        help="""
PEM file with the key of this node's certificate.

Without a passphrase. It is refused if others than its owner and a group of
readers can use it: its mode is 0600 or 0640.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_tls_crl',
        help="""
PEM file with the list of certificates that the cluster's CA has revoked.

Who shows one of them is refused by the API, and not read from. The file is
read again when it changes. Once the time of the next list has passed,
everybody is refused until there is a new one. Unset: nothing is revoked.
""",
    ),
]


@dataclasses.dataclass(frozen=True)
class Tls:
    """Paths of PEM files; None: not set."""

    ca: str | None
    certificate: str | None
    key: str | None
    crl: str | None = None


def read(conf: Any) -> Tls:
    """Return the paths in the option group *conf*.

    Whether they are all there is checked by who needs them.
    """
    return Tls(
        conf.tmpl_store_tls_ca,
        conf.tmpl_store_tls_certificate,
        conf.tmpl_store_tls_key,
        conf.tmpl_store_tls_crl,
    )
