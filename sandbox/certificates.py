"""The sandbox's own certificate authority, with a certificate for the server and one for the client application."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 825


class Certificates(NamedTuple):
    """PEM files; the client's are named as in Teller's own `teller.zip`."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def certificates(directory: Path) -> Certificates:
    """The certificates in `directory`, made there if they are not complete or have less than a day left.

    Private keys are readable by their owner alone.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = Certificates(
        directory / "ca.pem",
        directory / "server.pem",
        directory / "server_key.pem",
        directory / "certificate.pem",
        directory / "private_key.pem",
    )
    if all(file.exists() for file in files) and _lasts(files.ca):
        return files
    ca_key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Ledgerlake sandbox CA")
    ca = _builder(name, name, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    ca = ca.add_extension(usage, critical=True)
    _write(files.ca, ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    for common_name, purpose, certificate, private in (
        ("localhost", ExtendedKeyUsageOID.SERVER_AUTH, files.server, files.server_key),
        ("Ledgerlake sandbox application", ExtendedKeyUsageOID.CLIENT_AUTH, files.client, files.client_key),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            _builder(_name(common_name), name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        if purpose == ExtendedKeyUsageOID.SERVER_AUTH:
            names = x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.IPAddress(ipaddress.ip_address("::1")),
                ]
            )
            leaf = leaf.add_extension(names, critical=False)
        _write(certificate, leaf.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        _write(
            private,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
    return files


def _lasts(certificate: Path) -> bool:
    try:
        ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except ValueError:
        return False
    return ends > datetime.now(UTC) + timedelta(days=1)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(content)
