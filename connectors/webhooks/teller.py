"""
Teller's webhooks.

Belongs here: the header, its tolerance, and which enrollment an event names. Source: https://teller.io/docs/guides/webhooks
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from pydantic import SecretStr

from connectors._values import identifier
from connectors.webhooks import _event
from connectors.webhooks._delivery import Delivery
from connectors.webhooks._event import Event
from connectors.webhooks._stamp import Stamp


class _Payload(msgspec.Struct):
    enrollment_id: str | None = None
    account_id: str | None = None


class _Body(msgspec.Struct):
    id: str
    type: str
    payload: _Payload


_BODY = msgspec.json.Decoder(_Body)


class Teller:
    """Deliveries of Teller, signed with the secrets of its dashboard."""

    provider: ClassVar[str] = "teller"
    refused_status: ClassVar[int] = 400

    def __init__(self, secrets: Sequence[SecretStr]) -> None:
        self._stamp = Stamp("Teller-Signature", 180, secrets)

    async def verify(self, delivery: Delivery) -> int:
        return self._stamp.verify(delivery)

    def read(self, body: bytes, signed_at: int) -> Event:
        return _event.read(body, signed_at, _BODY, _read)


def _read(body: _Body) -> Event:
    """An enrollment has something new, whatever it is; a test of the webhook names none."""
    return Event(
        event_id=identifier(body.id),
        kind=identifier(body.type),
        asks=body.payload.enrollment_id is not None,
        external_id=_event.named(body.payload.enrollment_id),
        account_id=_event.named(body.payload.account_id),
    )
