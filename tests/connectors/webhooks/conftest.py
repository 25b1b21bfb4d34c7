"""Signing as each provider's page says, by code of the tests' own."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

Stamp = Callable[..., str]


@pytest.fixture(scope="session")
def stamp() -> Stamp:
    """`stamp(body, at, secrets)`: the header of Teller, Tink and Stripe."""

    def sign(body: bytes, at: int, secrets: Sequence[str]) -> str:
        message = f"{at}.".encode() + body
        values = [hmac.new(one.encode(), message, hashlib.sha256).hexdigest() for one in secrets]
        return ",".join([f"t={at}", *(f"v1={one}" for one in values)])

    return sign


def _part(value: bytes | dict[str, Any]) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True)
class PlaidKey:
    """A key of Plaid: it signs bodies, and is published."""

    kid: str
    private: ec.EllipticCurvePrivateKey

    def jwk(self, expired_at: int | None = None) -> dict[str, Any]:
        """As `/webhook_verification_key/get` shows it."""
        numbers = self.private.public_key().public_numbers()
        return {
            "alg": "ES256",
            "crv": "P-256",
            "kid": self.kid,
            "kty": "EC",
            "use": "sig",
            "created_at": 1560466150,
            "expired_at": expired_at,
            "x": _part(numbers.x.to_bytes(32, "big")),
            "y": _part(numbers.y.to_bytes(32, "big")),
        }

    def token(self, body: bytes, at: int, **head: Any) -> str:
        """The header Plaid-Verification of a body."""
        claims = {"iat": at, "request_body_sha256": hashlib.sha256(body).hexdigest()}
        signed = f"{_part({'alg': 'ES256', 'kid': self.kid, 'typ': 'JWT'} | head)}.{_part(claims)}"
        r, s = decode_dss_signature(self.private.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


MakeKey = Callable[[str], PlaidKey]


@pytest.fixture(scope="session")
def plaid_key() -> MakeKey:
    """`plaid_key(kid)`: a new key of that name."""
    return lambda kid: PlaidKey(kid, ec.generate_private_key(ec.SECP256R1()))
