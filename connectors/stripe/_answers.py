"""What Stripe's answers mean: lists, objects that are no more, and errors by who can recover."""

from __future__ import annotations

import re

import msgspec

from connectors._errors import BadData, ConnectorError, Gone, Misconfigured, NeedsReauth, Retryable
from connectors._http import Reply, unexpected
from connectors._split import members
from connectors.stripe._objects import Elements

_NOT_RETRIED = 3600.0


class _Key(msgspec.Struct, gc=False):
    """Any object: its id, when it was created, and whether it is a stub of what was deleted."""

    id: str
    created: int | None = None
    deleted: bool = False


class _Fault(msgspec.Struct):
    code: str | None = None
    type: str | None = None
    param: str | None = None


class _Failure(msgspec.Struct):
    error: _Fault


_STUB = msgspec.json.Decoder(_Key)
_FAILURE = msgspec.json.Decoder(_Failure)
_CODE = re.compile(r"[a-z_]{1,60}")


def envelope(reply: Reply) -> Elements:
    """The list that an answer is. Text in it that no Unicode holds is the affair of its object alone."""
    found = members(reply.body, "a list of Stripe")
    if not {"data", "has_more"} <= found.keys() or found["has_more"] not in {b"true", b"false"}:
        raise BadData(
            f"expected a list with `data` and `has_more` from {reply.request}, found an object without: nothing of it is"
            " stored; if it stays so, this connector needs an update",
            scope="stream",
        )
    return Elements(msgspec.Raw(found["data"]), found["has_more"] == b"true")


def missing(reply: Reply) -> bool:
    """Whether an answer says that there is no object of an id: of the one asked for, or of the one to go on from."""
    return reply.status in {400, 404} and _fault(reply).code == "resource_missing"


def is_gone(reply: Reply) -> bool:
    """Whether an object that was asked for is there no more: none of that id, or a stub that says so."""
    if not 200 <= reply.status < 300:
        return True
    try:
        return _STUB.decode(reply.body).deleted
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def classify(reply: Reply, *, connected: bool) -> ConnectorError:
    """What an answer means that is not 2xx. Stripe's word on whether to try again wins over its status."""
    word = reply.headers.get("stripe-should-retry", "").strip().lower()
    error = _meant(reply, connected=connected)
    if word == "true" and not isinstance(error, Retryable):
        return Retryable(
            f"expected an answer to {reply.request}, found {reply.describe()} and that it is worth another try: try again"
            " later",
            code=error.code,
        )
    if word == "false" and isinstance(error, Retryable):
        error.retry_after = _NOT_RETRIED
    return error


def _meant(reply: Reply, *, connected: bool) -> ConnectorError:
    code = _code(reply)
    if reply.is_html:
        return unexpected(reply)
    if code == "account_invalid" and reply.status in {401, 403}:
        if connected:
            return Gone(
                "Stripe reports account_invalid: the account took back the access of this platform, or does not exist; its"
                " records stay as they are; the customer connects again, and that is added with `ledgerlake connect"
                " stripe`",
                code=code,
            )
        return NeedsReauth(
            "Stripe reports account_invalid for the key's own account: the customer has to make another key and hand it"
            " over; until then it is not called",
            code=code,
        )
    match reply.status:
        case 401:
            return NeedsReauth(
                f"Stripe refuses the key ({code or 'HTTP 401'}): it is wrong, expired or was revoked; the customer has to"
                " make another restricted key with the permission Read and hand it over; until then it is not called",
                code=code or None,
            )
        case 403:
            return Misconfigured(
                f"Stripe reports that the key may not do {reply.request} ({code or 'HTTP 403'}): give the restricted key"
                " the permission Read for all resources that docs/providers/stripe.md lists",
                code=code or None,
            )
        case 409 | 429:
            reason = reply.headers.get("stripe-rate-limited-reason", "")
            return Retryable(
                f"Stripe has no room for {reply.request} now ({code or reason or f'HTTP {reply.status}'}): try again later",
                code=code or (reason if _CODE.fullmatch(reason.replace("-", "_")) else "") or str(reply.status),
            )
    error = unexpected(reply)
    error.code = code or error.code
    return error


def _fault(reply: Reply) -> _Fault:
    try:
        return _FAILURE.decode(reply.body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Fault()


def _code(reply: Reply) -> str:
    """Stripe's code, or nothing: whatever does not look like one is not repeated, since it could be anything."""
    code = _fault(reply).code or ""
    return code if _CODE.fullmatch(code) else ""
