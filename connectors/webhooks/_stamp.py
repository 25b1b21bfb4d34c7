"""
Signatures of the form `t=<unix>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>` with a secret that both sides share.

Belongs here: what Teller, Tink and Stripe have in common. Not here: their headers and tolerances.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from connectors.webhooks._delivery import Delivery, Refused

_TIME = re.compile(r"\d{1,12}", re.ASCII)
_MOST = 16


@dataclass(frozen=True)
class Stamp:
    """
    The check of one header. Any `v1` may match any of the secrets, so that each side can change its own first.

    `tolerance` is by how many seconds the signed time may differ from ours, in either direction: a clock that is a
    little off must not stop the events, and a delivery that comes again meanwhile is known by its event's identity.
    """

    header: str
    tolerance: int
    secrets: Sequence[SecretStr] = field(repr=False)

    def verify(self, delivery: Delivery) -> int:
        """The signed time. Raises Refused."""
        value = delivery.headers.get(self.header.lower())
        if value is None:
            raise Refused(f"expected a header {self.header}, found none")
        parts = [part.partition("=")[::2] for part in value.split(",")]
        times = [text for name, text in parts if name == "t"]
        given = [text.encode("latin-1", "replace") for name, text in parts if name == "v1"]
        if len(times) != 1 or not _TIME.fullmatch(times[0]) or not 0 < len(given) <= _MOST:
            raise Refused(f"expected t=<seconds> and v1=<signature> in {self.header}, found something else")
        message = times[0].encode() + b"." + delivery.body
        matched = False
        for secret in self.secrets:
            expected = hmac.new(secret.get_secret_value().encode(), message, hashlib.sha256).hexdigest().encode()
            for one in given:
                matched |= hmac.compare_digest(one, expected)
        if not matched:
            raise Refused(f"no signature in {self.header} is of one of the {len(self.secrets)} secrets that are set")
        return recent(int(times[0]), delivery.at, self.tolerance)


def recent(signed_at: int, at: float, tolerance: int) -> int:
    """The signed time, if it is near enough to ours. Raises Refused."""
    if abs(at - signed_at) > tolerance:
        where = "ago" if signed_at < at else "ahead of this clock"
        raise Refused(
            f"expected a delivery signed within {tolerance} s of now, found one signed {abs(at - signed_at):.0f} s"
            f" {where}: it was held back or sent again, or a clock is wrong"
        )
    return signed_at
