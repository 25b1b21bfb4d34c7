"""
Plaid's webhooks.

Belongs here: the token of the header Plaid-Verification, and which Item an event names. Not here: the keys that tokens
are signed with (`_keys`).

A token says when it was made and what the body's hash is, and is signed with ES256. Everything about it that costs no
request is checked before its key is asked for. Source: https://plaid.com/docs/api/webhooks/webhook-verification
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from functools import partial
from typing import ClassVar, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from connectors._values import identifier
from connectors.webhooks import _event
from connectors.webhooks._delivery import Delivery, Refused
from connectors.webhooks._event import Event
from connectors.webhooks._keys import Keys
from connectors.webhooks._stamp import recent

TOLERANCE = 300

_HEADER = "Plaid-Verification"
_LONGEST = 4096
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ANNOUNCED = frozenset({"PENDING_EXPIRATION", "PENDING_DISCONNECT", "WEBHOOK_UPDATE_ACKNOWLEDGED"})
"""Of an Item, and nothing that a sync could find: what will be, and that this address is known."""


class _Head(msgspec.Struct):
    alg: str
    kid: str


class _Claims(msgspec.Struct):
    iat: int
    request_body_sha256: str


class _Body(msgspec.Struct):
    webhook_type: str
    webhook_code: str
    item_id: str | None = None
    account_id: str | None = None


_BODY = msgspec.json.Decoder(_Body)

T = TypeVar("T")


class Plaid:
    """Deliveries of Plaid, signed with keys that it publishes."""

    provider: ClassVar[str] = "plaid"
    refused_status: ClassVar[int] = 400

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def verify(self, delivery: Delivery) -> int:
        token = delivery.headers.get(_HEADER.lower())
        if token is None:
            raise Refused(f"expected a header {_HEADER}, found none")
        if len(token) > _LONGEST:
            raise Refused(f"expected a token in {_HEADER}, found {len(token)} characters")
        head, claims = _parts(token)
        if head.alg != "ES256" or not _KID.fullmatch(head.kid):
            raise Refused(f"expected a token in {_HEADER} signed with ES256 by a named key, found another")
        digest = hashlib.sha256(delivery.body).hexdigest()
        if not hmac.compare_digest(claims.request_body_sha256.encode(), digest.encode()):
            raise Refused(f"the token in {_HEADER} is of another body")
        signed_at = recent(claims.iat, delivery.at, TOLERANCE)
        key = await self._keys.get(head.kid)
        if key is None:
            raise Refused(f"the token in {_HEADER} is signed with a key that Plaid does not know, or that has expired")
        try:
            jws.deserialize_compact(token, key, algorithms=["ES256"])
        except JoseError:
            raise Refused(f"the signature in {_HEADER} is not of the key that it names") from None
        return signed_at

    def read(self, body: bytes, signed_at: int) -> Event:
        return _event.read(body, signed_at, _BODY, partial(_read, _event.hashed_id(body, signed_at)))


def _read(event_id: str, body: _Body) -> Event:
    """Of transactions only one code is about how we read them; of an Item what a sync of it finds out."""
    if body.webhook_type == "TRANSACTIONS":
        asks = body.webhook_code == "SYNC_UPDATES_AVAILABLE"
    else:
        asks = body.webhook_type == "ITEM" and body.webhook_code not in _ANNOUNCED
    return Event(
        event_id=event_id,
        kind=identifier(f"{body.webhook_type}.{body.webhook_code}"),
        asks=asks and body.item_id is not None,
        external_id=_event.named(body.item_id),
        account_id=_event.named(body.account_id),
    )


def _parts(token: str) -> tuple[_Head, _Claims]:
    parts = token.split(".")
    if len(parts) != 3:
        raise Refused(f"expected a token of three parts in {_HEADER}, found {len(parts)}")
    head, claims, _ = map(_decoded, parts)
    return _json(head, _Head), _json(claims, _Claims)


def _decoded(part: str) -> bytes:
    """The bytes of a part that is written as it should be: its last bits must not be another way to write the same."""
    try:
        text = part.encode("ascii")
        value = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        value, text = b"", b"="
    if base64.urlsafe_b64encode(value).rstrip(b"=") != text:
        raise Refused(f"expected a token in {_HEADER}, found a text that is none")
    return value


def _json(value: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(
            f"expected a token in {_HEADER} with alg, kid, iat and request_body_sha256, found another"
        ) from None
