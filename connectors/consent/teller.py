"""
Teller Connect: the proof that an enrollment comes from Teller, for this application and this page.

Each signature is Ed25519, by the application's token signing key, over `nonce.accessToken.userId.enrollmentId.environment`.
The documentation may be read as over that text or as over its SHA-256 digest; either proves the same.

Source: https://teller.io/docs/guides/connect
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors._errors import Misconfigured

_MOST = 10
"""Signatures that are tried; Teller sends one for each signing key that is not expired."""


def proved(
    signing_key: str,
    signatures: Iterable[str],
    *,
    nonce: str,
    access_token: str,
    user_id: str,
    enrollment_id: str,
    environment: str,
) -> bool:
    """
    Whether any of the signatures is Teller's, of exactly this enrollment and this page's nonce.

    Raises Misconfigured when `signing_key` is not an Ed25519 public key in base64, raw or as PEM's body.
    """
    key = _key(signing_key)
    text = ".".join((nonce, access_token, user_id, enrollment_id, environment)).encode()
    signed = (text, hashlib.sha256(text).digest())
    for given in list(signatures)[:_MOST]:
        try:
            signature = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            continue
        if any(_is_of(key, signature, one) for one in signed):
            return True
    return False


def _is_of(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def _key(text: str) -> Ed25519PublicKey:
    try:
        raw = base64.b64decode(text, validate=True)
        # The last 32 bytes are the key, also where a header of SubjectPublicKeyInfo stands before them.
        return Ed25519PublicKey.from_public_bytes(raw[-32:] if len(raw) == 44 else raw)
    except ValueError:
        pass
    raise Misconfigured(
        "expected Teller's token signing key, an Ed25519 public key in base64, found another text: copy it from Teller's"
        " dashboard into LEDGERLAKE_TELLER_TOKEN_SIGNING_KEY",
        scope="provider",
    )
