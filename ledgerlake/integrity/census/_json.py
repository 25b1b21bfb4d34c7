"""Bodies cut into their records by the standard library, each record's text as it came.

Belongs here: where an element begins and ends. Does not belong here: what a record means. It is apart from the way in
which syncs split bodies (``connectors``), so that the two cannot lose a record for the same reason.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from connectors import BadData

_SPACE = re.compile(r"[ \t\n\r]*")
# A number stays text: nothing is rounded, and none is too large.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str)


class Piece(NamedTuple):
    """A value of a body: decoded, with numbers as text, and its text."""

    value: Any
    text: str


def decode(body: bytes) -> str:
    """The body as text; a byte that is no UTF-8 costs its record that character, and no other record anything."""
    return body.decode("utf-8", "replace")


def elements(text: str, what: str) -> Iterator[Piece]:
    """The elements of an array. Raises BadData when it is none."""
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise _other("an array", what)
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        piece, at = _value(text, at, what)
        yield piece
        at = _next(text, at, "]", what)


def members(text: str, what: str) -> dict[str, Piece]:
    """The members of an object. Raises BadData when it is none."""
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise _other("an object", what)
    found = {}
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        name, at = _value(text, at, what)
        at = _skip(text, _skip(text, at) + 1)
        found[str(name.value)], at = _value(text, at, what)
        at = _next(text, at, "}", what)
    return found


def at_path(value: object, *path: str) -> Any:
    """The value at a path of members, None where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text_at(value: object, *path: str) -> str | None:
    """The text at a path of members; None where there is none, or only space."""
    found = at_path(value, *path)
    return found if isinstance(found, str) and found.strip() else None


def _value(text: str, at: int, what: str) -> tuple[Piece, int]:
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        raise _other("JSON", what) from None
    return Piece(value, text[at:end]), end


def _next(text: str, at: int, end: str, what: str) -> int:
    """Where the next one begins, or the end is."""
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        return _skip(text, at + 1)
    if text[at : at + 1] != end:
        raise _other("JSON", what)
    return at


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _other(expected: str, what: str) -> BadData:
    return BadData(f"expected {expected} as {what}, found something else: nothing of it counts", scope="stream")
