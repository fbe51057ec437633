"""Make the keys that sign task messages, and look after them. Only files; who signs is in `tasks`."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from settings import MESSAGE_CERTIFICATE_FILE, MESSAGE_KEY_FILE, TRUSTED_DIR
from wording import said

#: Celery takes RSA only. Who is trusted is decided by which certificates lie in the folder, so a short life
#: would protect from nothing, and end with workers that do not start.
KEY_BITS = 2048
LIFE_DAYS = 3650


class MessageKeyError(Exception):
    """Raised when keys cannot be made or read; says what to do."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """One certificate in the directory."""

    path: Path
    #: Unix time, s.
    ends_at_s: float
    #: Identifies it, wherever it is copied to.
    fingerprint: bytes


def new_message_key(directory: Path, *, name: str = "", now_s: float) -> tuple[Path, ...]:
    """Write a private key (mode 600), its certificate, and the certificate again among the trusted ones.

    `name` tells hosts apart, by default the machine's. Returns the files. Raises `MessageKeyError` where a
    key is already, since messages signed with it may be under way.
    """
    name = name or platform.node() or "cleanbook"
    key_file = directory / MESSAGE_KEY_FILE
    if key_file.exists():
        raise MessageKeyError(
            said(
                "{key_file} is there already; move it away first, or name another directory",
                key_file=key_file,
            )
        )
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    text = _certificate(key, name, now_s).public_bytes(serialization.Encoding.PEM)
    trusted = directory / TRUSTED_DIR
    for folder in (directory, trusted):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    written = (directory / MESSAGE_CERTIFICATE_FILE, trusted / f"{_file_name(name)}-{int(now_s)}.pem")
    for path in written:
        path.write_bytes(text)
    return (key_file, *written)


def own_certificate(directory: Path) -> Certificate:
    """Return this host's certificate. Raises `MessageKeyError`."""
    return _read(directory / MESSAGE_CERTIFICATE_FILE)


def trusted_certificates(directory: Path) -> tuple[Certificate, ...]:
    """Return the certificates whose messages are taken. Raises `MessageKeyError`."""
    return tuple(_read(path) for path in sorted((directory / TRUSTED_DIR).glob("*.pem")))


def _certificate(key: rsa.RSAPrivateKey, name: str, now_s: float) -> x509.Certificate:
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"cleanbook {name}"[:64])])
    now = datetime.fromtimestamp(now_s, UTC)
    builder = x509.CertificateBuilder(
        issuer_name=who,
        subject_name=who,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        # Clocks of hosts differ.
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=LIFE_DAYS),
    )
    return builder.sign(key, hashes.SHA256())


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)


def _read(path: Path) -> Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise MessageKeyError(
            said("{path} cannot be read: {strerror}", path=path, strerror=error.strerror)
        ) from error
    except ValueError as error:
        raise MessageKeyError(said("{path} is no certificate: {error}", path=path, error=error)) from error
    return Certificate(
        path=path,
        ends_at_s=certificate.not_valid_after_utc.timestamp(),
        fingerprint=certificate.fingerprint(hashes.SHA256()),
    )
