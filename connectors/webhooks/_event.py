"""
An event: what a delivery names, with its identity.

Belongs here: the value that crosses to the engine, and how a body that cannot be read becomes one. Not here: the fields
of any provider's body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date
from typing import TypeVar

import msgspec

from connectors._values import day, identifier

UNREADABLE = "unreadable"
"""The kind of an event whose body is not what the provider's page says."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """
    One thing that a provider tells. It holds ids and days alone: what happened is read from the provider itself.

    `kind` is the provider's word. `asks` is whether a sync can find what it tells of. It names a connection by the
    provider's own id of it (`external_id`), or an account of one, or records of a `stream`; `since` and `until` are the
    days whose records changed, where it says so. `fault` is why the body could not be read.
    """

    event_id: str
    kind: str
    asks: bool = False
    external_id: str | None = None
    account_id: str | None = None
    stream: str | None = None
    record_ids: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    fault: str | None = None


def hashed_id(body: bytes, signed_at: int) -> str:
    """
    The identity of an event that the provider gave none: its body and when it was signed.

    Not the body alone: two changes of one connection have the same body, for it only says that there is something new.
    """
    return f"sha256:{hashlib.sha256(b'%d.%b' % (signed_at, body)).hexdigest()}"


T = TypeVar("T")


def read(body: bytes, signed_at: int, decoder: msgspec.json.Decoder[T], build: Callable[[T], Event]) -> Event:
    """The event that `build` makes of a decoded body, or the one that says why there is none."""
    try:
        return build(decoder.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        fault = f"{len(body)} bytes are not an event as the provider documents it: {error or type(error).__name__}"
        return Event(event_id=hashed_id(body, signed_at), kind=UNREADABLE, fault=fault)


def named(text: str | None) -> str | None:
    """An id that may be left out. ValueError when a database key cannot hold it."""
    return None if text is None else identifier(text)


def day_or_none(text: object) -> date | None:
    """A day, or None for what is no day: then the event names no window, which costs a longer read and no record."""
    try:
        return day(text) if isinstance(text, str) else None
    except ValueError:
        return None
