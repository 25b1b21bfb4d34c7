"""Teller, as the standard suite needs it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from connectors import BadData, Gone, Misconfigured, NeedsReauth, Retryable
from connectors.teller import Teller
from sandbox.teller import Teller as Sandbox
from tests.connectors.suite._dialect import Case, Dialect, Fact, Row, bank_facts
from tests.connectors.suite._hostile import Answer

_DATA = "/accounts/*"
_DISCONNECTED = (
    "",
    ".account_locked",
    ".credentials_invalid",
    ".enrollment_inactive",
    ".user_action.captcha_required",
    ".user_action.contact_information_required",
    ".user_action.insufficient_permissions",
    ".user_action.mfa_required",
    ".user_action.web_login_required",
    ".something_new",
)


def _fact(stream: str, told: Any, row: Row) -> Fact | None:
    if stream != "transactions":
        return None
    status = "pending" if row.pending else "posted"
    return Fact(stream, told["id"], status, told["date"], abs(Decimal(told["amount"])), told["description"])


def _unknown(row: dict[str, Any]) -> None:
    row["type"] = "teleport"
    row["details"] |= {"category": "alchemy", "counterparty": {"name": "x", "type": "golem", "planet": None}}


def _said(status: int, code: str = "", message: str = "x") -> Answer:
    return Answer.of(status, {"error": {"code": code, "message": message}})


TELLER = Dialect(
    connector=Teller,
    sandbox=Sandbox,
    seed=39,
    customers=(0, 1),
    facts=bank_facts,
    fact=_fact,
    unknown=_unknown,
    swap=(b'"type":"depository"', b'"type":"burrow"'),
    # The list of accounts, the identity, and of each account its balances, details and window.
    quiet=lambda accounts: 1 + 2 * accounts,
    size="count",
    refused=_said(404, "not_found"),
    canaries=("access_token",),
    rate_limit=_said(429, "rate_limited"),
    revoked=Case("token revoked", _said(403), Gone),
    errors=(
        *(
            Case(f"disconnected{why}", _said(404, f"enrollment.disconnected{why}"), NeedsReauth, at=_DATA,
                 code=f"enrollment.disconnected{why}")
            for why in _DISCONNECTED
        ),
        Case("token revoked", _said(403), Gone),
        Case("token revoked, by its code", _said(403, "forbidden"), Gone, code="forbidden"),
        Case("account closed", _said(410, "account.closed"), Gone, "account", "account.closed", _DATA),
        Case("closed for a reason", _said(410, "account.closed.by_bank.merged"), Gone, "account",
             "account.closed.by_bank.merged", _DATA),
        Case("gone without a code", _said(410, "gone"), Gone, "account", "gone", _DATA),
        Case("no certificate", _said(400, "bad_request", "Missing certificate: retry"), Misconfigured, "provider",
             "bad_request"),
        Case("no token sent", _said(401), Misconfigured),
        Case("unknown to Teller, yet listed", _said(404, "not_found"), BadData, "account", "not_found", "/accounts/*/balances"),
        Case("no such rows of a listed account", _said(404, "not_found"), BadData, "account", "not_found",
             "/accounts/*/transactions"),
        Case("no details", _said(404, "not_found"), None, at="/accounts/*/details"),
        Case("not yet verified", _said(404, "account_number_verification_pending"), None, at="/accounts/*/details"),
        Case("never verified", _said(404, "account_number_verification_expired"), None, at="/accounts/*/details"),
        Case("no identity", _said(404, "not_found"), None, at="/identity"),
        Case("a new 404", _said(404, "something_new"), BadData, "stream", "something_new", _DATA),
        Case("refused request", _said(400, "bad_request", "no number"), BadData, "stream", "bad_request"),
        Case("unprocessable", _said(422, "unprocessable_entity"), BadData, "stream", "unprocessable_entity"),
        Case("too many", _said(429, "rate_limited"), Retryable, code="rate_limited"),
        Case("out of order", _said(500, "internal_server_error"), Retryable, code="internal_server_error"),
        Case("bank down", Answer(502, b""), Retryable, code="502", at=_DATA),
        Case("a firewall's page", Answer(403, b"<html>Access denied</html>"), Retryable, code="403"),
    ),
)  # fmt: skip
