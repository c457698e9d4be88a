"""The certificates of a control plane on loopback: those of its CA, its API server and its admin."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
LIFETIME = datetime.timedelta(days=7)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class Pki:
    """Makes, in a folder: ca.crt, apiserver.crt and .key, admin.crt and .key, service-account.key and .pub."""

    def __init__(self, folder: Path, addresses: tuple[str, ...]) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700)
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA of a test")])
        ca = self._builder(self._ca_name, self._ca_key.public_key())
        ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        ca = ca.add_extension(_key_usage(signs_certificates=True), critical=True)
        self._write("ca.crt", self._signed(ca))
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(one)) for one in addresses])
        self._leaf("apiserver", [(NameOID.COMMON_NAME, "kube-apiserver")], SERVER, names)
        admin = [(NameOID.ORGANIZATION_NAME, "system:masters"), (NameOID.COMMON_NAME, "admin")]
        self._leaf("admin", admin, CLIENT)
        account = rsa.generate_private_key(65537, 2048)
        self._write("service-account.key", _pem(account))
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self._write("service-account.pub", account.public_key().public_bytes(serialization.Encoding.PEM, form))

    def write_kubeconfig(self, path: Path, url: str) -> None:
        """Write a kubeconfig of the admin. It names files, which the client library need not write itself then."""
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [
                        {"name": "test", "cluster": {"server": url, "certificate-authority": f"{self._folder}/ca.crt"}}
                    ],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                    "users": [
                        {
                            "name": "admin",
                            "user": {
                                "client-certificate": f"{self._folder}/admin.crt",
                                "client-key": f"{self._folder}/admin.key",
                            },
                        }
                    ],
                }
            )
        )

    def _leaf(
        self,
        file: str,
        subject: list[tuple[x509.ObjectIdentifier, str]],
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None = None,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(*part) for part in subject]), key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(names, critical=False)
        self._write(f"{file}.crt", self._signed(builder))
        self._write(f"{file}.key", _pem(key))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        """Return what all certificates here have in common; Python's strict check wants the two identifiers."""
        begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
        by_ca = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._ca_name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(by_ca, critical=False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, content: bytes) -> None:
        (self._folder / name).write_bytes(content)


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: PrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
