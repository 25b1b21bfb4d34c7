"""
Tink's webhooks (events v2).

Belongs here: the header, its tolerance, and which consent, account and days an event names.

Tink says neither once nor in order, and gives no ids. An event of a refresh names the consent; those of transactions
name an account, which may be seen through two consents. Source: https://docs.tink.com/resources/webhooks
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
from pydantic import SecretStr

from connectors._values import identifier
from connectors.webhooks import _event
from connectors.webhooks._delivery import Delivery
from connectors.webhooks._event import Event
from connectors.webhooks._stamp import Stamp

_OF_AN_ACCOUNT = frozenset({"account:created", "account:updated"})


class _Account(msgspec.Struct):
    id: str


class _Transactions(msgspec.Struct, rename="camel"):
    earliest_modified_booked_date: Any = None
    latest_modified_booked_date: Any = None
    ids: list[str] = []


class _Content(msgspec.Struct, rename="camel"):
    id: str | None = None
    credentials_id: str | None = None
    account: _Account | None = None
    transactions: _Transactions | None = None


class _Body(msgspec.Struct):
    event: str
    content: _Content


_BODY = msgspec.json.Decoder(_Body)


class Tink:
    """Deliveries of Tink, signed with the secret that each webhook endpoint was given when it was made."""

    provider: ClassVar[str] = "tink"
    refused_status: ClassVar[int] = 412

    def __init__(self, secrets: Sequence[SecretStr]) -> None:
        self._stamp = Stamp("X-Tink-Signature", 300, secrets)

    async def verify(self, delivery: Delivery) -> int:
        return self._stamp.verify(delivery)

    def read(self, body: bytes, signed_at: int) -> Event:
        return _event.read(body, signed_at, _BODY, partial(_read, _event.hashed_id(body, signed_at)))


def _read(event_id: str, body: _Body) -> Event:
    content = body.content
    account_id = content.account.id if content.account else content.id if body.event in _OF_AN_ACCOUNT else None
    changed = content.transactions or _Transactions()
    return Event(
        event_id=event_id,
        kind=identifier(body.event),
        asks=content.credentials_id is not None or account_id is not None,
        external_id=_event.named(content.credentials_id),
        account_id=_event.named(account_id),
        stream="transactions" if changed.ids else None,
        record_ids=tuple(map(identifier, changed.ids)),
        since=_event.day_or_none(changed.earliest_modified_booked_date),
        until=_event.day_or_none(changed.latest_modified_booked_date),
    )
