"""Stripe, as the standard suite needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connectors import BadData, Gone, Misconfigured, NeedsReauth, Retryable
from connectors.stripe import Stripe
from sandbox.stripe import Stripe as Sandbox
from tests.connectors.suite._dialect import Case, Dialect, Fact, Row
from tests.connectors.suite._hostile import Answer

_LISTS = "/v1/[!a]*"
"""Everything but the account."""
_UNTOLD = frozenset({"accounts", "events", "subscription_items", "invoice_lines", "credit_note_lines"})
"""Streams of which the truth tells no single records."""


def _facts(told: Mapping[str, Any]) -> Iterable[Fact]:
    for stream, listed in told["billing"].items():
        for object_id, row in listed.get("rows", {}).items():
            yield Fact(stream, object_id, _status(row))


def _fact(stream: str, told: Any, row: Row) -> Fact | None:
    if stream in _UNTOLD:
        return None
    if stream == "balance_transactions":
        return Fact(stream, told["id"], "pending" if row.pending else "available")
    return Fact(stream, told["id"], _status(told))


def _status(told: Mapping[str, Any]) -> str:
    return str(told.get("status", told.get("active", "")))


def _unknown(row: dict[str, Any]) -> None:
    row |= {"teleported": True, "rite": {"moons": [1.10, None]}}
    if "status" in row and row["object"] != "balance_transaction":
        row["status"] = "levitating"


def _said(status: int, code: str | None = None, **headers: str) -> Answer:
    error = {"type": "invalid_request_error", "message": "x"} | ({"code": code} if code else {})
    return Answer.of(status, {"error": error}, **headers)


def _more(told: dict[str, Any], number: int) -> None:
    told |= {"data": [], "has_more": True}


STRIPE = Dialect(
    connector=Stripe,
    sandbox=Sandbox,
    seed=5,
    customers=(0, 3),
    facts=_facts,
    fact=_fact,
    unknown=_unknown,
    swap=(b'"type":"standard"', b'"type":"mythical"'),
    # The account, the events, and the balance transactions, which have no events.
    quiet=lambda accounts: 3,
    size="limit",
    refused=_said(400, "resource_missing"),
    more=_more,
    canaries=("api_key",),
    readings=frozenset(),
    retained=frozenset({"events"}),
    empty=frozenset({"refunds", "disputes"}),
    lax="/v1/*/lines?*",
    rate_limit=_said(429, "rate_limit"),
    revoked=Case("key revoked", _said(401, "api_key_expired"), NeedsReauth, code="api_key_expired"),
    errors=(
        Case("wrong key", _said(401), NeedsReauth),
        Case("key expired", _said(401, "api_key_expired"), NeedsReauth, code="api_key_expired"),
        Case("the key's account not to be read", _said(403, "account_invalid"), NeedsReauth, code="account_invalid"),
        Case("access taken back", _said(403, "account_invalid"), Gone, code="account_invalid", which=1),
        Case("permission missing", _said(403), Misconfigured, at="/v1/charges"),
        Case("too many", _said(429, "rate_limit"), Retryable, code="rate_limit"),
        Case("locked", _said(429, "lock_timeout"), Retryable, code="lock_timeout"),
        Case("too many, by the header", _said(429, Stripe_Rate_Limited_Reason="endpoint-rate"), Retryable,
             code="endpoint-rate"),
        Case("conflict", _said(409, "lock_timeout"), Retryable, code="lock_timeout"),
        Case("out of order", _said(500), Retryable, code="500", at=_LISTS),
        Case("down", _said(503), Retryable, code="503"),
        Case("worth another try", _said(400, "x", Stripe_Should_Retry="true"), Retryable, code="x"),
        Case("a firewall's page", Answer(403, b"<html>Access denied</html>"), Retryable, code="403"),
        Case("parameter unknown", _said(400, "parameter_unknown"), BadData, "stream", "parameter_unknown", _LISTS),
        Case("request failed", _said(402), BadData, "stream", "402", _LISTS),
        Case("no such endpoint", _said(404), BadData, "stream", "404", _LISTS),
    ),
    lacks={
        "late_and_backdated_rows_are_found": "Stripe dates an object at the moment it makes it: none comes with an"
        " earlier date.",
        "a_pending_row_posts_under_a_new_id": "A pending balance transaction keeps its id when it becomes available.",
    },
)  # fmt: skip
