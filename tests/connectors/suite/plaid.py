"""Plaid, as the standard suite needs it."""

from __future__ import annotations

from typing import Any

from connectors import BadData, ConnectorError, Gone, Misconfigured, NeedsReauth, Retryable, Scope
from connectors.plaid import Plaid
from sandbox.plaid import Plaid as Sandbox
from tests.connectors.suite._dialect import Case, Dialect, Fact, Row, bank_facts
from tests.connectors.suite._hostile import Answer

_REAUTH = (
    "ITEM_LOGIN_REQUIRED", "ITEM_LOCKED", "INVALID_CREDENTIALS", "INVALID_MFA", "INSUFFICIENT_CREDENTIALS",
    "USER_SETUP_REQUIRED", "PASSWORD_RESET_REQUIRED", "ACCESS_NOT_GRANTED", "ADDITIONAL_CONSENT_REQUIRED",
    "MFA_NOT_SUPPORTED", "PENDING_EXPIRATION", "PENDING_DISCONNECT",
)  # fmt: skip
_OVER = (
    "ITEM_NOT_FOUND", "ITEM_CONCURRENTLY_DELETED", "INVALID_ACCESS_TOKEN", "ITEM_NOT_SUPPORTED", "NO_ACCOUNTS",
    "USER_PERMISSION_REVOKED", "INSTITUTION_NO_LONGER_SUPPORTED", "PRODUCTS_NOT_SUPPORTED", "UNAUTHORIZED_INSTITUTION",
    "INSTITUTION_REGISTRATION_REQUIRED",
)  # fmt: skip
_DOWN = (
    "INSTITUTION_DOWN", "INSTITUTION_NOT_RESPONDING", "INSTITUTION_NOT_AVAILABLE", "INTERNAL_SERVER_ERROR",
    "PLANNED_MAINTENANCE", "UNSUPPORTED_RESPONSE",
)  # fmt: skip
_SYNC = "/transactions/sync"


def _fact(stream: str, told: Any, row: Row) -> Fact | None:
    if stream != "transactions":
        return None
    status = "pending" if row.pending else "posted"
    return Fact(stream, told["transaction_id"], status, told["date"], abs(told["amount"]), told["name"])


def _unknown(row: dict[str, Any]) -> None:
    row |= {"transaction_code": "teleport", "payment_channel": "astral", "transaction_type": "rite"}
    row["personal_finance_category"] = {"primary": "ALCHEMY", "detailed": "ALCHEMY_GOLD", "purity": 1.10}


def _more(told: dict[str, Any], number: int) -> None:
    told |= {"added": [], "modified": [], "removed": [], "has_more": True, "next_cursor": f"place-{number}"}


def _said(code: str, kind: str = "ITEM_ERROR", status: int = 400) -> Answer:
    return Answer.of(status, {"error_type": kind, "error_code": code, "error_message": "x", "request_id": "r"})


def _case(
    code: str,
    meaning: type[ConnectorError],
    scope: Scope = "connection",
    *,
    kind: str = "ITEM_ERROR",
    status: int = 400,
    at: str = "*",
) -> Case:
    return Case(f"{code} of {kind} ({status})", _said(code, kind, status), meaning, scope, code, at)


PLAID = Dialect(
    connector=Plaid,
    sandbox=Sandbox,
    seed=25,
    customers=(0, 2),
    facts=bank_facts,
    fact=_fact,
    unknown=_unknown,
    swap=(b'"type":"depository"', b'"type":"burrow"'),
    # The accounts with their balances, the changes, and the Item.
    quiet=lambda accounts: 3,
    size="count",
    refused=_said("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", "TRANSACTIONS_ERROR"),
    more=_more,
    canaries=("access_token",),
    composed=frozenset({"item"}),
    rate_limit=_said("TRANSACTIONS_SYNC_LIMIT", "RATE_LIMIT_EXCEEDED", 429),
    revoked=Case("Item removed", _said("ITEM_NOT_FOUND"), Gone),
    errors=(
        *(_case(code, NeedsReauth) for code in _REAUTH),
        *(_case(code, Gone) for code in _OVER),
        *(_case(code, Retryable, kind="INSTITUTION_ERROR") for code in _DOWN),
        _case("INVALID_API_KEYS", Misconfigured, "provider", kind="INVALID_INPUT"),
        _case("UNAUTHORIZED_ENVIRONMENT", Misconfigured, "provider", kind="INVALID_INPUT"),
        _case("TRANSACTIONS_SYNC_LIMIT", Retryable, kind="RATE_LIMIT_EXCEEDED", status=429),
        _case("RATE_LIMIT", Retryable, kind="RATE_LIMIT_EXCEEDED", status=429),
        _case("CREDITS_EXHAUSTED", Retryable, kind="RATE_LIMIT_EXCEEDED", status=429),
        _case("SOMETHING_NEW", Retryable, kind="RATE_LIMIT_EXCEEDED", status=429),
        _case("ACCOUNTS_LIMIT", Retryable, kind="SOMETHING_ELSE"),
        _case("SOMETHING_NEW", Retryable, kind="INSTITUTION_ERROR"),
        _case("SOMETHING_NEW", Retryable, kind="API_ERROR"),
        _case("SOMETHING_NEW", Retryable, status=503),
        _case("PRODUCT_NOT_READY", Retryable, "stream", at=_SYNC),
        Case("no data yet", Answer.of(200, {"added": [], "modified": [], "removed": [], "next_cursor": "",
             "has_more": False, "transactions_update_status": "NOT_READY"}), Retryable, "stream", "NOT_READY", _SYNC),
        Case("mutations without end", _said("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", "TRANSACTIONS_ERROR"),
             Retryable, "stream", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", _SYNC),
        *(_case(code, BadData, "stream", kind="INVALID_REQUEST")
          for code in ("MISSING_FIELDS", "UNKNOWN_FIELDS", "INVALID_FIELD", "INVALID_BODY")),
        _case("SOMETHING_NEW", BadData, "stream"),
        Case("no error object", Answer.of(404, {}), BadData, "stream", "404"),
        Case("a firewall's page", Answer(403, b"<html>Access denied</html>"), Retryable, code="403"),
    ),
    lacks={
        "a_pending_row_posts_under_its_own_id": "Plaid gives every posted transaction an id of its own.",
    },
)  # fmt: skip
