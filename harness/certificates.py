# SPDX-License-Identifier: Apache-2.0
"""A certificate authority for tests: a cluster's, or a foreign one."""

import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.oid import NameOID

from tmpl_glance_store import tls

_VALIDITY = datetime.timedelta(days=1)


class Authority:
    """A CA whose files, and those of its nodes, lie below *root*.

    :param name: of the CA, unique below *root*
    """

    def __init__(self, root: pathlib.Path, name: str = 'cluster') -> None:
        self.directory = root / name
        self.directory.mkdir(parents=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f'{name} CA')
        certificate = self._sign(
            self._name,
            self._key.public_key(),
            [
                (x509.BasicConstraints(ca=True, path_length=0), True),
                (_key_usage(ca=True), True),
            ],
        )
        self.ca = self.directory / 'ca.pem'
        self.ca.write_bytes(_pem(certificate))

    def node(
        self, name: str, *addresses: str, days: int | None = None
    ) -> tls.Files:
        """Return the files of a node with a new certificate.

        :param addresses: IP addresses and host names to be found at
        :param days: validity, negative if it has expired; default: a day
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            _name(name),
            key.public_key(),
            [
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (_key_usage(ca=False), True),
                (
                    x509.ExtendedKeyUsage(
                        [
                            ExtendedKeyUsageOID.SERVER_AUTH,
                            ExtendedKeyUsageOID.CLIENT_AUTH,
                        ]
                    ),
                    False,
                ),
                (
                    x509.SubjectAlternativeName(
                        [_alternative(each) for each in (name, *addresses)]
                    ),
                    False,
                ),
            ],
            days,
        )
        files = tls.Files(
            str(self.ca),
            str(self.directory / f'{name}.pem'),
            str(self.directory / f'{name}.key'),
        )
        pathlib.Path(files.certificate).write_bytes(_pem(certificate))
        secret = pathlib.Path(files.key)
        secret.touch(0o600)
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def revoke(self, *revoked: tls.Files, days: int = 1) -> str:
        """Return the path of the CA's list, which has just *revoked*.

        :param days: validity, negative if it has expired
        """
        now = datetime.datetime.now(datetime.UTC)
        end = now + datetime.timedelta(days=days)
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=self._name,
            last_update=min(now, end) - _VALIDITY,
            next_update=end,
        )
        for files in revoked:
            certificate = x509.load_pem_x509_certificate(
                pathlib.Path(files.certificate).read_bytes()
            )
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder(
                    certificate.serial_number, now - _VALIDITY
                ).build()
            )
        path = self.directory / 'crl.pem'
        path.write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(
                serialization.Encoding.PEM
            )
        )
        return str(path)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extensions: list[tuple[x509.ExtensionType, bool]],
        days: int | None = None,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        end = now + (
            _VALIDITY if days is None else datetime.timedelta(days=days)
        )
        authority = self._key.public_key()
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=min(now, end) - _VALIDITY,
            not_valid_after=end,
        )
        for extension, critical in (
            *extensions,
            (x509.SubjectKeyIdentifier.from_public_key(key), False),
            (
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority),
                False,
            ),
        ):
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
