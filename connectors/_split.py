"""
Splits a body into records: each object's bytes stay as they came, and only the few fields the engine needs are decoded.

Belongs here: finding the objects, telling good from broken ones. Not here: what a
good object is; that is the stream's contract, a struct and a function in the provider's module.

What is broken in one object sets that object aside and no other: a wrong type, text that is not UTF-8, half of a
surrogate pair. msgspec checks the grammar of all it skips, but not its UTF-8: so that is checked apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from connectors._errors import BadData
from connectors._protocol import Record, Rejected
from connectors._values import identifier

T = TypeVar("T", bound=msgspec.Struct)

_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SPACE = re.compile(r"[ \t\n\r]*")
_KINDS = {
    "[": "an array",
    "{": "an object",
    '"': "a string",
    "n": "null",
    "t": "true",
    "f": "false",
}


class Fields(Generic[T]):
    """
    The fields to decode of each object of a stream, as a struct.

    `what` names such an object in sentences. `id_field` and `account_field` are where an object that breaks the
    contract may still tell its id and its account.
    """

    def __init__(self, struct: type[T], what: str, *, id_field: str = "id", account_field: str = "account_id") -> None:
        self.what = what
        self.id_field = id_field
        self.account_field = account_field
        self.decoder = msgspec.json.Decoder(struct)


class Split(NamedTuple):
    """The objects of a body: those that keep the stream's contract, in the provider's order, and those that do not."""

    records: list[Record]
    rejected: list[Rejected]


def split(
    body: bytes, fields: Fields[T], build: Callable[[T, bytes], Record], *, account_id: str | None = None
) -> Split:
    """
    The objects of a JSON array. `build` makes a record of an object, or raises ValueError with the reason not to.

    `account_id` is the account that was asked for, and so the account of an object that cannot tell its own.
    Raises BadData when the body is no array.
    """
    records: list[Record] = []
    rejected: list[Rejected] = []
    for piece in _pieces(body, fields.what):
        made = read(piece, fields, build, account_id=account_id)
        if isinstance(made, Record):
            records.append(made)
        else:
            rejected.append(made)
    return Split(records, rejected)


def read(
    piece: bytes, fields: Fields[T], build: Callable[[T, bytes], Record], *, account_id: str | None = None
) -> Record | Rejected:
    """One object, as the record it is or as rejected with the reason."""
    try:
        piece.decode()
        return build(fields.decoder.decode(piece), piece)
    except UnicodeDecodeError as error:
        reason = f"text is not UTF-8 at byte {error.start} of the record"
    except msgspec.ValidationError as error:
        reason = f"not {fields.what}: {error}"
    except (msgspec.DecodeError, RecursionError) as error:
        reason = f"not JSON that can be kept: {error}"
    except ValueError as error:
        reason = str(error)
    return _rejected(piece, reason, fields, account_id)


def members(body: bytes, what: str) -> dict[str, bytes]:
    """
    The members of the JSON object that is the body, each value as it came: for answers that wrap their list.

    Raises BadData when the body is no object. `what` names the object in sentences.
    """
    if _kind(body) != "an object":
        raise BadData(
            f"expected a JSON object, {what}, found {_kind(body)}: nothing of it is stored; if it stays so, the"
            " provider has changed its protocol and this connector needs an update",
            scope="stream",
        )
    try:
        try:
            return {name: bytes(raw) for name, raw in _MEMBERS.decode(body).items()}
        except (msgspec.DecodeError, UnicodeDecodeError):
            return dict(_scan_members(_text(body)))
    except RecursionError:
        raise BadData(
            f"expected a JSON object, {what}, found one nested deeper than can be read: nothing of it is stored",
            scope="stream",
        ) from None


def _kind(body: bytes) -> str:
    """What sort of JSON value the body is, for sentences."""
    return _KINDS.get(body.lstrip()[:1].decode(errors="replace"), "a number")


def _pieces(body: bytes, what: str) -> list[bytes]:
    if _kind(body) != "an array":
        raise BadData(
            f"expected a JSON array, each element {what}, found {_kind(body)}: nothing of it is stored; if it stays"
            " so, the provider has changed its protocol and this connector needs an update",
            scope="stream",
        )
    try:
        try:
            return [bytes(raw) for raw in _RAWS.decode(body)]
        except msgspec.DecodeError:
            return list(_scan(_text(body)))
    except RecursionError:
        raise BadData(
            f"expected a JSON array, each element {what}, found one nested deeper than can be read: nothing of it"
            " is stored",
            scope="stream",
        ) from None


def _scan(text: str) -> Iterator[bytes]:
    """The array's elements, found by the standard library, which lets pass what no Unicode text may hold."""
    scanner = json.JSONDecoder()
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "]":
        _, end = scanner.raw_decode(text, at)
        yield text[at:end].encode("utf-8", "surrogateescape")
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _scan_members(text: str) -> Iterator[tuple[str, bytes]]:
    """The object's members, found as `_scan` finds an array's elements."""
    scanner = json.JSONDecoder()
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        name, end = scanner.raw_decode(text, at)
        at = _skip(text, _skip(text, end) + 1)
        _, end = scanner.raw_decode(text, at)
        yield name, text[at:end].encode("utf-8", "surrogateescape")
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def _rejected(piece: bytes, reason: str, fields: Fields[Any], account_id: str | None) -> Rejected:
    try:
        found = json.loads(_text(piece))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        found = {}
    return Rejected(
        payload=piece,
        reason=reason,
        record_id=_identifier(found.get(fields.id_field)),
        account_id=account_id or _identifier(found.get(fields.account_field)),
    )


def _identifier(value: object) -> str | None:
    try:
        return identifier(value) if isinstance(value, str) else None
    except ValueError:
        return None
