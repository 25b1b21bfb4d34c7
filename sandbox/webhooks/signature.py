"""How webhooks are signed: a stamped HMAC with shared secrets, or a token of ES256 with a key that is published.

Teller, Tink and Stripe: `t=<unix>,v1=<hex>`, HMAC-SHA256 over `<t>.<body>`, one `v1` a secret. Plaid: a JWT whose claim
`request_body_sha256` is the body's hash.
"""

import hashlib
import hmac
import secrets
import time
from typing import Any, Protocol

from joserfc import jwt
from joserfc.jwk import ECKey


class Signer(Protocol):
    """Signs a body at a moment (Unix time)."""

    def headers(self, body: bytes, at: int, *, forged: bool = False) -> dict[str, str]:
        """The headers that prove the body; `forged`: as somebody would write them who lacks the secret."""
        ...


class Secrets:
    """HMAC with one or more secrets, all of which are good at once while one replaces another.

    `extra` ends the header: what a receiver must pass over.
    """

    def __init__(self, header: str, *secrets: str, extra: str = "") -> None:
        self.header = header
        self.secrets = secrets
        self._extra = extra

    def headers(self, body: bytes, at: int, *, forged: bool = False) -> dict[str, str]:
        signed = b"%d.%b" % (at, body)
        known = [f"not {secret}" for secret in self.secrets] if forged else self.secrets
        stamps = [hmac.new(one.encode(), signed, hashlib.sha256).hexdigest() for one in known]
        return {self.header: ",".join([f"t={at}", *(f"v1={one}" for one in stamps)]) + self._extra}


class KeyRing:
    """The keys that Plaid signs with; all are published by their `kid`, one signs."""

    header = "Plaid-Verification"

    def __init__(self) -> None:
        self._keys: dict[str, ECKey] = {}
        self._published: dict[str, dict[str, Any]] = {}
        self.kid = ""
        self.rotate()

    def rotate(self, *, expire: bool = False, adopt: bool = True) -> str:
        """Make a new key and tell its `kid`; the old ones `expire` now or stay good, the new one signs if we `adopt` it."""
        now = int(time.time())
        if expire:
            for told in self._published.values():
                told["expired_at"] = told["expired_at"] or now
        kid = secrets.token_hex(16)
        key = ECKey.generate_key("P-256", private=True)
        public = key.as_dict(private=False)
        self._keys[kid] = key
        self._published[kid] = {
            "alg": "ES256", "created_at": now, "crv": "P-256", "expired_at": None, "kid": kid, "kty": "EC", "use": "sig",
            "x": public["x"], "y": public["y"],
        }  # fmt: skip
        if adopt or not self.kid:
            self.kid = kid
        return kid

    def published(self, kid: str) -> dict[str, Any] | None:
        """The public key as Plaid shows it; None for a `kid` that is not of here."""
        return self._published.get(kid)

    def headers(self, body: bytes, at: int, *, forged: bool = False) -> dict[str, str]:
        key = ECKey.generate_key("P-256", private=True) if forged else self._keys[self.kid]
        claims = {"iat": at, "request_body_sha256": hashlib.sha256(body).hexdigest()}
        return {self.header: jwt.encode({"alg": "ES256", "kid": self.kid, "typ": "JWT"}, claims, key)}
