"""
Stripe's webhooks.

Belongs here: the header, its tolerance, and whose object an event is about. An event of a connected account names it;
one of a key's own account names none, so its customer says whose it is. What changed is read from Stripe's feed of
events, never from here. Source: https://docs.stripe.com/webhooks
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
from pydantic import SecretStr

from connectors._values import identifier
from connectors.webhooks import _event
from connectors.webhooks._delivery import Delivery
from connectors.webhooks._event import Event
from connectors.webhooks._stamp import Stamp


class _Subject(msgspec.Struct, frozen=True):
    """The object of an event: it is of another API version, so of any type."""

    id: Any = None
    object: Any = None
    customer: Any = None


class _Data(msgspec.Struct, frozen=True):
    object: _Subject = _Subject()


class _Body(msgspec.Struct):
    id: str
    type: str
    account: str | None = None
    data: _Data = _Data()


_BODY = msgspec.json.Decoder(_Body)


class Stripe:
    """Deliveries of Stripe, signed with the secret of each endpoint."""

    provider: ClassVar[str] = "stripe"
    refused_status: ClassVar[int] = 400

    def __init__(self, secrets: Sequence[SecretStr]) -> None:
        self._stamp = Stamp("Stripe-Signature", 300, secrets)

    async def verify(self, delivery: Delivery) -> int:
        return self._stamp.verify(delivery)

    def read(self, body: bytes, signed_at: int) -> Event:
        return _event.read(body, signed_at, _BODY, _read)


def _read(body: _Body) -> Event:
    customer = _customer(body.data.object)
    return Event(
        event_id=identifier(body.id),
        kind=identifier(body.type),
        asks=True,
        external_id=_event.named(body.account),
        stream="customers" if customer else None,
        record_ids=(identifier(customer),) if customer else (),
    )


def _customer(subject: _Subject) -> str | None:
    named = subject.id if subject.object == "customer" else subject.customer
    return named if isinstance(named, str) and named else None
