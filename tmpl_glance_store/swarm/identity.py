# SPDX-License-Identifier: Apache-2.0
"""Whether a node's certificate will be good enough for its peers."""

import ssl
import tempfile

from tmpl_glance_store import exceptions
from tmpl_glance_store import tls
from tmpl_glance_store.swarm import metainfo


def prove(files: tls.Files) -> bytes:
    """Return the CA in PEM, once this node's certificate is good for peers.

    libtorrent drops a connection without a word when a certificate will not
    do. Shaking hands with ourselves tells at start, and why.

    :raises BadConfiguration: if peers would refuse the certificate
    """
    try:
        ca = _first_certificate(files.ca)
        _shake_hands(
            _context(ssl.PROTOCOL_TLS_CLIENT, ca, files),
            _context(ssl.PROTOCOL_TLS_SERVER, ca, files),
        )
    except (OSError, ValueError) as exc:  # an ssl.SSLError is an OSError
        raise exceptions.BadConfiguration(
            f'{files.certificate} will not do for the swarm: it must be '
            f'signed by {files.ca} itself, carry {metainfo.NAME!r} among its '
            'DNS names, and serve for clients and for servers: '
            f'{exc}'
        ) from exc
    return ca.encode()


def _first_certificate(path: str) -> str:
    """Return the first certificate in a file, in the only spelling it has.

    The CA goes into the info-hash, which must be the same on every node,
    whatever text and line ends surround it in the node's file. libtorrent
    reads but the first, of the CA and of the node.
    """
    with open(path, encoding='ascii', errors='replace') as file:
        text = file.read()
    start = text.index(ssl.PEM_HEADER)
    end = text.index(ssl.PEM_FOOTER, start) + len(ssl.PEM_FOOTER)
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(text[start:end]))


def _context(protocol: int, ca: str, files: tls.Files) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca)
    with tempfile.NamedTemporaryFile('w', suffix='.pem') as own:
        own.write(_first_certificate(files.certificate))
        own.flush()
        # Without a password, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(own.name, files.key, password='')
    return context


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=metainfo.NAME),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):  # no handshake has more flights
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    if ends:
        raise ssl.SSLError('the handshake did not end')
