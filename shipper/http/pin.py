"""Certificate pinning: the server's public key has to be one of those that the configuration names.

Reads the certificate that TLS has verified. A pin is the SHA-256 of its SubjectPublicKeyInfo in base64, as curl's
`--pinnedpubkey` and RFC 7469 have it; it survives a renewal that keeps the key. Fails with `ssl.SSLError`.
"""

from __future__ import annotations

import hashlib
import ssl
from base64 import b64encode
from collections.abc import Collection

PREFIX = "sha256//"
_LONG_FORM = 0x80  # of a length in DER: its low bits say how many bytes it has
_VERSION_TAG = 0xA0  # of a certificate's optional first field
_FIELDS_BEFORE_KEY = 5  # serial number, signature algorithm, issuer, validity, subject: RFC 5280, 4.1


def check(connection: ssl.SSLSocket, pins: Collection[str]) -> None:
    """Compare the peer's public key with the pins.

    Raises:
        ssl.SSLError: it is none of them.
    """
    certificate = connection.getpeercert(binary_form=True)
    found = fingerprint(certificate) if certificate else "no certificate"
    if found not in {pin.removeprefix(PREFIX) for pin in pins}:
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, f"the server's key {PREFIX}{found} is not in remote.tls.pin")


def fingerprint(certificate: bytes) -> str:
    """Return the base64 SHA-256 of the SubjectPublicKeyInfo of a DER certificate.

    Raises:
        ssl.SSLError: it is no certificate.
    """
    try:
        start, _ = _content(certificate, 0)  # Certificate
        position, _ = _content(certificate, start)  # TBSCertificate
        if certificate[position] == _VERSION_TAG:
            position = _content(certificate, position)[1]
        for _ in range(_FIELDS_BEFORE_KEY):
            position = _content(certificate, position)[1]
        key = certificate[position : _content(certificate, position)[1]]
    except IndexError as error:
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, "not a certificate") from error
    return b64encode(hashlib.sha256(key).digest()).decode("ascii")


def _content(der: bytes, position: int) -> tuple[int, int]:
    """Return where the content of the element at a position begins, and where the element ends."""
    length, begin = der[position + 1], position + 2
    if length & _LONG_FORM:
        begin += length & ~_LONG_FORM
        length = int.from_bytes(der[position + 2 : begin], "big")
    if begin + length > len(der):
        raise IndexError(position)
    return begin, begin + length
