"""Cursors: what this connector left in the store, and how it is read again."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from connectors._errors import Misconfigured
from connectors._protocol import Ask, Cursor

OVERLAP = 3600
"""So many seconds before the newest object seen are read again: what is created in them may appear late."""

T = TypeVar("T", bound=msgspec.Struct)


def cursor_of(ask: Ask, stream: str, kind: type[T]) -> T:
    """The stored cursor, a new one where there is none."""
    try:
        return kind() if ask.cursor is None else msgspec.convert(ask.cursor, kind)
    except msgspec.ValidationError as error:
        raise Misconfigured(
            f"expected the cursor of {stream} as this version writes it, found: {error}; read the connection in full"
            " (--full)",
            scope="stream",
        ) from None


def stored(cursor: msgspec.Struct) -> Cursor:
    """The cursor as the engine keeps it."""
    kept: Cursor = msgspec.to_builtins(cursor)
    return kept
